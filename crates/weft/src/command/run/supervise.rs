//! While the program runs: a proxy that dies is replaced, those who want to join the program are let in,
//! and when the control plane says so the program is asked to end.

use std::process::{Child, ExitCode};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use weft_capture::{Ended, HeldProgram};

use super::door::Door;
use super::proxy::{self, Sockets};
use super::register::{Readiness, Registration};
use crate::command::program::{Foreground, Happening, Start, end_as};
use crate::failure::Failure;
use crate::print;

/// What stands beside the program while it runs.
pub(super) struct Beside<'a> {
    /// Its registration.
    pub(super) registration: Registration,
    /// Its proxy.
    pub(super) proxy: Child,
    /// When that was started.
    pub(super) proxy_since: Instant,
    /// When another one is started, for one that died.
    pub(super) proxy_due: Option<Instant>,
    /// How another proxy is started.
    pub(super) plan: &'a proxy::Plan,
    /// What a proxy serves.
    pub(super) sockets: &'a Sockets,
    /// Where others ask for the way in.
    pub(super) door: &'a Door,
    /// Whether it can be called, where that is asked.
    pub(super) readiness: Option<watch::Receiver<bool>>,
}

/// Starts the program and stays until it has ended.
///
/// # Errors
/// When the program can't be started.
pub(super) async fn supervise(program: HeldProgram, mut beside: Beside<'_>) -> Result<ExitCode, Failure> {
    let stay = match Foreground::start(program)? {
        Start::Running(foreground) => stay(foreground, &mut beside).await.map(End::As),
        Start::NotRun(code) => Ok(End::Code(code)),
    };
    // It drains on SIGTERM and ends by itself; nobody needs to wait for it.
    proxy::end(&beside.proxy);
    beside.door.close();
    // A signal may end this process here.
    Ok(match stay? {
        End::As(ended) => end_as(ended),
        End::Code(code) => code,
    })
}

/// How to end.
enum End {
    As(Ended),
    Code(ExitCode),
}

async fn stay(mut program: Foreground, beside: &mut Beside<'_>) -> Result<Ended, Failure> {
    let mut kill_at = None;
    // Before the program was started nobody listened for it.
    beside.note_dead_proxy();
    loop {
        let proxy_due = beside.proxy_due;
        tokio::select! {
            happening = program.next() => match happening? {
                Happening::Ended(ended) => return Ok(ended),
                Happening::Child => beside.note_dead_proxy(),
            },
            () = sleep_until(proxy_due.unwrap_or_else(Instant::now)), if proxy_due.is_some() => beside.replace_proxy(),
            () = beside.door.open_to_all() => {}
            () = beside.registration.stop_asked(), if kill_at.is_none() => {
                kill_at = Some(Instant::now() + KILL_AFTER);
                program.tell(Signal::SIGTERM);
            }
            Some(readiness) = change(&mut beside.readiness) => beside.note(readiness).await,
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                kill_at = Some(Instant::now() + KILL_AFTER);
                program.tell(Signal::SIGKILL);
            }
        }
    }
}

/// Waits for the next answer that differs from the one before; `None` when nothing is asked.
async fn change(readiness: &mut Option<watch::Receiver<bool>>) -> Option<Readiness> {
    let told = readiness.as_mut()?;
    told.changed().await.ok()?;
    Some(if *told.borrow_and_update() { Readiness::Ready } else { Readiness::Unready })
}

impl Beside<'_> {
    async fn note(&mut self, readiness: Readiness) {
        // A control plane that is away is told when it is back.
        let _ = self.registration.tell(readiness).await;
    }

    fn note_dead_proxy(&mut self) {
        if self.proxy_due.is_none()
            && let Ok(Some(status)) = self.proxy.try_wait()
        {
            print::note(&format!("weft: the proxy died ({status}); starting another"));
            self.proxy_due = Some(self.proxy_since + REPLACE_PAUSE);
        }
    }

    /// What keeps a proxy from starting passes, or is mended: the program doesn't end for it.
    fn replace_proxy(&mut self) {
        self.proxy_since = Instant::now();
        self.proxy_due = None;
        match proxy::replace(self.plan, self.sockets) {
            Ok(proxy) => self.proxy = proxy,
            Err(failure) => {
                print::note(&format!("weft: no other proxy could be started: {}; trying again", failure.message));
                self.proxy_due = Some(self.proxy_since + REPLACE_PAUSE);
            }
        }
    }
}

/// One that dies at once isn't started more often.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);
/// A program that is asked to end gets this long.
const KILL_AFTER: Duration = Duration::from_secs(10);
