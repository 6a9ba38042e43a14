//! A program in the foreground of this process: signals from outside are passed on to it, and when it
//! ends, so does the command, in the same way. It knows no mesh.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{Pid, getpgid, getpgrp, tcgetpgrp, tcsetpgrp};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use weft_capture::{CaptureError, Ended, HeldProgram, RunningProgram};

use crate::failure::{Context, Failure};
use crate::print;

/// A running program and the signals that are meant for it.
pub(crate) struct Foreground {
    running: RunningProgram,
    /// The runtime's eye on the program's end.
    end: UnixDatagram,
    signals: Signals,
    /// One for which there was no room on its way.
    unsent: Option<Box<siginfo>>,
    /// Where a user sits who sees that this process stops, and can continue it.
    terminal: Option<OwnedFd>,
}

/// What came of starting a program.
pub(crate) enum Start {
    /// It runs.
    Running(Foreground),
    /// It can't be run; that was told, and this is the code to end with.
    NotRun(ExitCode),
}

/// What happened to a program in the foreground.
pub(crate) enum Happening {
    /// It has ended.
    Ended(Ended),
    /// A child of this process has ended or stopped.
    Child,
}

impl Foreground {
    /// Starts the program. From now on this process takes signals on its behalf.
    ///
    /// # Errors
    /// When the sandbox broke down.
    pub(crate) fn start(program: HeldProgram) -> Result<Start, Failure> {
        let signals = Signals::block()?;
        match program.start() {
            Ok(running) => {
                let end = readiness(running.as_fd())?;
                Ok(Start::Running(Self { running, end, signals, unsent: None, terminal: terminal() }))
            }
            Err(CaptureError::Exec { program, errno }) => Ok(Start::NotRun(not_run(&program, errno))),
            Err(error) => Err(Failure::new(format!("start the program: {error}"))),
        }
    }

    /// Waits for what happens next. It may be dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    /// When program or signals can't be heard any more.
    pub(crate) async fn next(&mut self) -> Result<Happening, Failure> {
        loop {
            if let Some(ended) = self.running.try_wait().context("wait for the program")? {
                return Ok(Happening::Ended(ended));
            }
            if let Some(signal) = self.running.stopped() {
                self.stop_as_well(signal);
            }
            if let Some(info) = self.unsent.take() {
                self.pass_on(*info);
            }
            let has_room = self.unsent.is_none();
            tokio::select! {
                ready = self.end.readable() => forget(&self.end, Interest::READABLE, &ready),
                ready = self.end.writable(), if !has_room => forget(&self.end, Interest::WRITABLE, &ready),
                signal = self.signals.next(), if has_room => {
                    let info = signal?;
                    self.pass_on(info);
                    if info.ssi_signo == Signal::SIGCHLD as u32 {
                        return Ok(Happening::Child);
                    }
                }
            }
        }
    }

    /// Sends the program a signal.
    pub(crate) fn tell(&self, signal: Signal) {
        // EPIPE: it has ended, and the next look tells.
        let _ = self.running.signal(signal as i32);
    }

    /// The program has stopped, as a shell inside does that is told to `suspend`: the shell outside sees
    /// this process only. When that continues it, the program goes on, with the terminal if that was given.
    fn stop_as_well(&self, signal: i32) {
        let Some(terminal) = &self.terminal else { return };
        weft_capture::stop_by_signal(signal);
        if tcgetpgrp(terminal) == Ok(getpgrp())
            && let Ok(group) = getpgid(Some(Pid::from_raw(self.running.pid())))
        {
            // One that is in another session has a terminal of its own.
            let _ = tcsetpgrp(terminal, group);
        }
        self.tell(Signal::SIGCONT);
    }

    fn pass_on(&mut self, info: siginfo) {
        // EPIPE: as in `tell`.
        if let Err(CaptureError::Failed(failure)) = self.running.pass_on(&info)
            && failure.errno == libc::EAGAIN
        {
            self.unsent = Some(Box::new(info));
        }
    }
}

fn terminal() -> Option<OwnedFd> {
    let (input, output, errors) = (stdin(), stdout(), stderr());
    let streams = [input.as_fd(), output.as_fd(), errors.as_fd()];
    let terminal = streams.into_iter().find(|stream| stream.is_terminal())?;
    terminal.try_clone_to_owned().ok()
}

/// As shells and env(1) tell it: 127 when there is no such program, 126 when it can't be run.
fn not_run(program: &str, errno: i32) -> ExitCode {
    let errno = Errno::from_raw(errno);
    print::failure(&Failure::new(format!("cannot run {program}: {}", errno.desc())));
    ExitCode::from(if errno == Errno::ENOENT { 127 } else { 126 })
}

/// Ends as the program did: its exit code, or its signal as a shell tells it.
pub(crate) fn end_as(ended: Ended) -> ExitCode {
    match ended {
        Ended::Code(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        Ended::Signal(signal) => {
            weft_capture::end_by_signal(signal);
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
    }
}

/// Signals as they come, each with who sent it, instead of ending or stopping this process: programs take any for an
/// order. A terminal's stop the program, and then this process as well. What can't be had are SIGKILL, SIGSTOP, and the
/// two realtime signals that glibc keeps to itself.
struct Signals {
    source: SignalFd,
    ready: UnixDatagram,
}

impl Signals {
    fn block() -> Result<Self, Failure> {
        let set = SigSet::all();
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
            forget(&self.ready, Interest::READABLE, &ready);
        }
    }
}

/// Waits for the end of a program that nobody needs to signal.
///
/// # Errors
/// When its sandbox can't be heard any more.
pub(crate) async fn ended(running: &mut RunningProgram) -> Result<Ended, Failure> {
    let end = readiness(running.as_fd())?;
    loop {
        if let Some(ended) = running.try_wait().context("wait for the program")? {
            return Ok(ended);
        }
        let ready = end.readable().await;
        forget(&end, Interest::READABLE, &ready);
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
fn forget(watched: &UnixDatagram, interest: Interest, ready: &std::io::Result<()>) {
    if ready.is_ok() {
        // Saying that the operation would block is what clears readiness.
        let _ = watched.try_io(interest, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
    }
}
