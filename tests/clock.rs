//! A clock that stands still until a test lets it go on, while sockets are real. Each crate that waits takes
//! this file into its own tests.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::task::{spawn_blocking, yield_now};

/// The time of a test's runtime; without this it flies.
pub(crate) struct Clock {
    _blocks: mpsc::Sender<()>,
}

impl Clock {
    /// Stops the clock.
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (blocks, blocked) = mpsc::channel::<()>();
        // A paused clock jumps to the next timer when all tasks wait, but not while something blocks.
        spawn_blocking(move || blocked.recv());
        Self { _blocks: blocks }
    }

    /// Lets `wait` pass, and somewhat more where nobody had begun to wait yet, until something has happened,
    /// which it must not before.
    pub(crate) async fn ends(&self, wait: Duration, mut has_happened: impl FnMut() -> bool) {
        // Those who are to wait begin.
        happens(&mut || false, MOMENT).await;
        tokio::time::advance(wait * 3 / 4).await;
        assert!(!happens(&mut has_happened, MOMENT).await, "before its time");
        for _ in 0..5 {
            tokio::time::advance(wait / 4 + TICK).await;
            if happens(&mut has_happened, PATIENCE).await {
                return;
            }
        }
        panic!("not when the time had come");
    }
}

/// Waits, in real time, for what needs none of the clock's.
pub(crate) async fn eventually(mut has_happened: impl FnMut() -> bool) {
    assert!(happens(&mut has_happened, 12 * PATIENCE).await, "never");
}

async fn happens(has_happened: &mut impl FnMut() -> bool, within: Duration) -> bool {
    let end = Instant::now() + within;
    while !has_happened() {
        if Instant::now() > end {
            return false;
        }
        yield_now().await;
    }
    true
}

/// Timers tick by the millisecond.
const TICK: Duration = Duration::from_millis(2);
/// How long others may take for what they do at once.
const MOMENT: Duration = Duration::from_millis(50);
/// How long others may take for what is to happen.
const PATIENCE: Duration = Duration::from_secs(5);
