//! While the program runs: signals from outside are passed on, a proxy that dies is replaced, and
//! when the program ends, so does `weft run`, in the same way.

use std::process::{Child, ExitCode};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use tokio::io::unix::AsyncFd;
use weft_capture::{Ending, Running, Sandbox};

use super::proxy;
use super::register::Registration;
use crate::failure::{Context, Failure};
use crate::print;

/// Starts the program and stays until it has ended.
///
/// # Errors
/// When the program can't be started.
pub(super) async fn supervise(
    mut sandbox: Sandbox,
    mut registration: Registration,
    mut proxy: Child,
    plan: &proxy::Plan,
) -> Result<ExitCode, Failure> {
    let running = sandbox.start().context("start the program")?;
    let signals = AsyncFd::new(signals()?).context("wait for signals")?;
    let ended = AsyncFd::new(running.ended()).context("wait for the program")?;
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = ended.readable() => break,
            signal = next_signal(&signals) => pass_on(&signal?, &running),
            () = registration.stop_asked(), if !stopping => {
                stopping = true;
                running.signal(Signal::SIGTERM);
            }
            () = tokio::time::sleep(KILL_AFTER), if stopping => running.signal(Signal::SIGKILL),
            () = tokio::time::sleep(PROXY_CHECK) => {
                if let Ok(Some(_)) = proxy.try_wait() {
                    print::note("weft: the proxy died; starting another");
                    proxy = proxy::start(plan, &sandbox)?;
                }
            }
        }
    }
    drop(ended);
    let ending = running.wait().context("wait for the program")?;
    // It drains on SIGTERM and ends by itself; nobody needs to wait for it.
    proxy::end(proxy);
    end_as(ending)
}
