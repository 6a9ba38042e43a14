//! While the program runs: a proxy that dies is replaced, those who want to join the program are let in,
//! and when the control plane says so the program is asked to end.

use std::process::{Child, ExitCode};
use std::time::Duration;

use nix::sys::signal::Signal;
use weft_capture::{Ended, HeldProgram};

use super::door::Door;
use super::proxy::{self, Sockets};
use super::register::Registration;
use crate::command::program::{Foreground, Happening, Start, end_as};
use crate::failure::Failure;
use crate::print;

/// What stands beside the program while it runs.
pub(super) struct Beside<'a> {
    /// Its registration.
    pub(super) registration: Registration,
    /// Its proxy.
    pub(super) proxy: Child,
    /// How another proxy is started.
    pub(super) plan: &'a proxy::Plan,
    /// What a proxy serves.
    pub(super) sockets: &'a Sockets,
    /// Where others ask for the way in.
    pub(super) door: &'a Door,
}

/// Starts the program and stays until it has ended.
///
/// # Errors
/// When the program can't be started, or its proxy can't be replaced.
pub(super) async fn supervise(program: HeldProgram, mut beside: Beside<'_>) -> Result<ExitCode, Failure> {
    let stay = match Foreground::start(program)? {
        Start::Running(foreground) => stay(foreground, &mut beside).await.map(end_as),
        Start::NotRun(code) => Ok(code),
    };
    // It drains on SIGTERM and ends by itself; nobody needs to wait for it.
    proxy::end(&beside.proxy);
    stay
}

async fn stay(mut program: Foreground, beside: &mut Beside<'_>) -> Result<Ended, Failure> {
    let mut stopping = false;
    loop {
        tokio::select! {
            happening = program.next() => match happening? {
                Happening::Ended(ended) => return Ok(ended),
                Happening::Child => beside.replace_dead_proxy()?,
            },
            () = beside.door.open_to_all() => {}
            () = beside.registration.stop_asked(), if !stopping => {
                stopping = true;
                program.tell(Signal::SIGTERM);
            }
            () = tokio::time::sleep(KILL_AFTER), if stopping => program.tell(Signal::SIGKILL),
        }
    }
}

impl Beside<'_> {
    fn replace_dead_proxy(&mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.proxy.try_wait() {
            print::note(&format!("weft: the proxy died ({status}); starting another"));
            self.proxy = proxy::start(self.plan, self.sockets)?;
        }
        Ok(())
    }
}

/// A program that is asked to end gets this long.
const KILL_AFTER: Duration = Duration::from_secs(10);
