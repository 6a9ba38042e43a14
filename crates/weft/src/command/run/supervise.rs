//! While the program runs: signals from outside are passed on, a proxy that dies is replaced, and
//! when the program ends, so does `weft run`, in the same way.

use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use tokio::net::UnixDatagram;
use weft_capture::{CaptureError, Ended, HeldProgram, RunningProgram};

use super::proxy::{self, Sockets};
use super::register::Registration;
use crate::failure::{Context, Failure};
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
}

/// Starts the program and stays until it has ended.
///
/// # Errors
/// When the program can't be started, or its proxy can't be replaced.
pub(super) async fn supervise(program: HeldProgram, mut beside: Beside<'_>) -> Result<ExitCode, Failure> {
    let signals = Signals::block()?;
    let mut running = match program.start() {
        Ok(running) => running,
        Err(CaptureError::Exec { program, errno }) => {
            proxy::end(&beside.proxy);
            return Ok(not_run(&program, errno));
        }
        Err(error) => return Err(Failure::new(format!("start the program: {error}"))),
    };
    let stay = stay(&mut running, &signals, &mut beside).await;
    // It drains on SIGTERM and ends by itself; nobody needs to wait for it.
    proxy::end(&beside.proxy);
    end_as(stay?)
}

/// As shells and env(1) tell it: 127 when there is no such program, 126 when it can't be run.
fn not_run(program: &str, errno: i32) -> ExitCode {
    let errno = Errno::from_raw(errno);
    print::failure(&Failure::new(format!("cannot run {program}: {}", errno.desc())));
    ExitCode::from(if errno == Errno::ENOENT { 127 } else { 126 })
}

async fn stay(running: &mut RunningProgram, signals: &Signals, beside: &mut Beside<'_>) -> Result<Ended, Failure> {
    let channel = readiness(running.as_fd())?;
    let mut stopping = false;
    loop {
        if let Some(ended) = running.try_wait().context("wait for the program")? {
            return Ok(ended);
        }
        tokio::select! {
            ready = channel.readable() => forget(&channel, &ready),
            signal = signals.next() => match signal? {
                info if info.ssi_signo == Signal::SIGCHLD as u32 => beside.replace_dead_proxy()?,
                info => pass_on(&info, running),
            },
            () = beside.registration.stop_asked(), if !stopping => {
                stopping = true;
                tell(running, Signal::SIGTERM);
            }
            () = tokio::time::sleep(KILL_AFTER), if stopping => tell(running, Signal::SIGKILL),
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

/// The signals that are looked at one by one instead of ending this process.
const SIGNALS: [Signal; 9] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGALRM,
    Signal::SIGCHLD,
];

/// Signals as they come, each with who sent it.
struct Signals {
    source: SignalFd,
    ready: UnixDatagram,
}

impl Signals {
    fn block() -> Result<Self, Failure> {
        let set: SigSet = SIGNALS.into_iter().collect();
        set.thread_block().context("block signals")?;
        let source = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let source = source.context("wait for signals")?;
        let ready = readiness(source.as_fd())?;
        Ok(Self { source, ready })
    }

    async fn next(&self) -> Result<siginfo, Failure> {
        loop {
            match self.source.read_signal() {
                Ok(Some(info)) => return Ok(info),
                Ok(None) | Err(Errno::EAGAIN) => {}
                Err(error) => return Err(Failure::new(format!("wait for signals: {error}"))),
            }
            let ready = self.ready.readable().await;
            forget(&self.ready, &ready);
        }
    }
}

/// The runtime's eye on a descriptor that it has no type for. Only readiness is asked of it, so
/// that it may pass for any kind of socket; `AsyncFd` would ask for unsafe code.
fn readiness(descriptor: BorrowedFd<'_>) -> Result<UnixDatagram, Failure> {
    let copy = descriptor.try_clone_to_owned().context("copy a descriptor")?;
    let socket = std::os::unix::net::UnixDatagram::from(copy);
    socket.set_nonblocking(true).context("watch a descriptor")?;
    UnixDatagram::from_std(socket).context("watch a descriptor")
}

/// Readiness was acted upon: the next one is a new one.
fn forget(watched: &UnixDatagram, ready: &std::io::Result<()>) {
    if ready.is_ok() {
        // Saying that the operation would block is what clears readiness.
        let _ = watched.try_io(tokio::io::Interest::READABLE, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
    }
}

/// What a terminal sends (from the kernel) reaches the program by itself: it is in this process
/// group. What another process sent was meant for the program and is passed on, once.
fn pass_on(info: &siginfo, running: &RunningProgram) {
    let from_kernel = info.ssi_code > 0;
    if let Ok(signal) = Signal::try_from(info.ssi_signo as i32)
        && !from_kernel
    {
        tell(running, signal);
    }
}

fn tell(running: &RunningProgram, signal: Signal) {
    // EPIPE: it has ended, and the next look tells.
    let _ = running.signal(signal as i32);
}

/// Ends as the program did: its exit code, or its signal as a shell tells it.
fn end_as(ended: Ended) -> Result<ExitCode, Failure> {
    match ended {
        Ended::Code(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))),
        Ended::Signal(signal) => {
            weft_capture::end_by_signal(signal);
            Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)))
        }
    }
}

/// A program that is asked to end gets this long.
const KILL_AFTER: Duration = Duration::from_secs(10);
