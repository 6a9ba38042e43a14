//! A proxy's clock that stands still: its waits pass when a test says so, over real sockets.

use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use weft_proxy::config::Config;
use weft_proxy::serve::{self, Channels};

use crate::harness::PATIENCE;

/// The time of one proxy; without this it flies.
pub(crate) struct Clock(mpsc::UnboundedSender<(Duration, std_mpsc::Sender<()>)>);

impl Clock {
    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        let (done, advanced) = std_mpsc::channel();
        self.0.send((by, done)).map_err(|_| "the proxy has ended").unwrap();
        advanced.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets `wait` pass, and again where the proxy had not begun to wait, until something has happened, which
    /// it must not before.
    pub(crate) fn ends(&self, wait: Duration, mut has_happened: impl FnMut() -> bool) {
        self.advance(wait * 3 / 4);
        assert!(!soon(&mut has_happened), "before its time");
        self.until(wait / 4, has_happened);
    }

    /// Lets `step` pass again and again until something has happened.
    pub(crate) fn until(&self, step: Duration, mut has_happened: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !soon(&mut has_happened) {
            assert!(Instant::now() < end, "never");
            self.advance(step);
        }
    }
}

/// Whether it happens within a [`MOMENT`]: others' clocks are real, and what they do takes its time.
fn soon(has_happened: &mut impl FnMut() -> bool) -> bool {
    let end = Instant::now() + MOMENT;
    loop {
        if has_happened() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::yield_now();
    }
}

/// How long somebody else may take for an answer, before more time of the proxy's passes.
const MOMENT: Duration = Duration::from_millis(200);

/// A clock, and what runs a proxy by it.
pub(crate) fn held() -> (Clock, impl FnOnce(Config, Channels) + Send + 'static) {
    let (sender, mut asked) = mpsc::unbounded_channel::<(Duration, std_mpsc::Sender<()>)>();
    let run = move |config, channels| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        // A paused clock jumps to the next timer when all tasks wait, but not while something blocks.
        let (blocks, blocked) = std_mpsc::channel::<()>();
        runtime.spawn_blocking(move || blocked.recv());
        LocalSet::new().block_on(&runtime, async {
            spawn_local(async move {
                while let Some((by, done)) = asked.recv().await {
                    tokio::time::advance(by).await;
                    // The test may have ended.
                    let _gone = done.send(());
                }
                // Nobody holds it any more: what is open at the proxy's end isn't waited for.
                loop {
                    tokio::time::advance(Duration::from_secs(1)).await;
                }
            });
            spawn_local(serve::serve(config, channels)).await.unwrap().unwrap();
        });
        drop(blocks);
    };
    (Clock(sender), run)
}
