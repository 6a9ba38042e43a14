//! The program of a sandbox, as its launcher holds it: first held back, then running.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signalfd::siginfo;
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::channel::{Channel, Packet};
use crate::error::{CaptureError, Failure, Step};
use crate::message::Message;
use crate::signals::{concerns_program, queued_value};

/// A program that is ready to run and waits for [`HeldProgram::start`]. Dropping it takes its sandbox down.
#[derive(Debug)]
pub struct HeldProgram {
    tree: Tree,
    name: String,
}

/// A program that was started. Dropping it kills it, with all that it started.
#[derive(Debug)]
pub struct RunningProgram {
    tree: Tree,
    pid: Pid,
    stopped_by: Option<i32>,
    ended: Option<Ended>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl HeldProgram {
    pub(crate) fn new(tree: Tree, name: String) -> Self {
        Self { tree, name }
    }

    /// Lets the program run; returns when it does.
    ///
    /// # Errors
    /// [`CaptureError::Exec`] when the program can't be run, [`CaptureError::Killed`] when its sandbox is gone.
    pub fn start(self) -> Result<RunningProgram, CaptureError> {
        let Self { tree, name } = self;
        tree.channel.send(&Message::Go).map_err(|_| CaptureError::Killed(Step::Supervise))?;
        let mut pid = None;
        loop {
            let packet = tree.receive(Step::Supervise)?;
            match packet.message {
                Message::Hello => pid = packet.sender,
                Message::Failed(failure) => return Err(failure.into()),
                Message::NotRunning(errno) => return Err(CaptureError::Exec { program: name, errno }),
                Message::Running => {
                    let pid = pid.ok_or(Failure::new(Step::Supervise, Errno::EPROTO, "no pid was told"))?;
                    return Ok(RunningProgram { tree, pid, stopped_by: None, ended: None });
                }
                _ => {}
            }
        }
    }
}

impl RunningProgram {
    /// Its process, as the launcher's PID namespace numbers it. `/proc/PID/ns` has the sandbox's namespaces.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits until the program has ended and nothing is left of its sandbox.
    ///
    /// # Errors
    /// [`CaptureError::Failed`] when the sandbox can't be heard any more.
    pub fn wait(&mut self) -> Result<Ended, CaptureError> {
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            let received = self.tree.channel.receive();
            self.take(received)?;
        }
    }

    /// How the program ended, if it has. [`AsFd`] gives a descriptor that can be read when this is worth asking.
    ///
    /// # Errors
    /// As [`RunningProgram::wait`].
    pub fn try_wait(&mut self) -> Result<Option<Ended>, CaptureError> {
        if self.ended.is_none() {
            let received = self.tree.channel.try_receive();
            self.take(received)?;
        }
        Ok(self.ended)
    }

    /// By which signal the program was stopped, if it still is; asked after [`RunningProgram::try_wait`]. Each stop is
    /// told once.
    pub fn stopped(&mut self) -> Option<i32> {
        let signal = self.stopped_by.take()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        (state(&stat) == Some('T')).then_some(signal)
    }

    /// Sends the program a signal. PID 1 of its sandbox does it, so that it never reaches another process that
    /// got the same number.
    ///
    /// # Errors
    /// [`CaptureError::Failed`] with EPIPE when the program has ended.
    pub fn signal(&self, signal: i32) -> Result<(), CaptureError> {
        self.send(&Message::Signal(signal, None))
    }

    /// Sends the program a signal that this process has got, if it is the program's and didn't reach it by itself: where
    /// it went to the whole process group, PID 1 knows.
    ///
    /// # Errors
    /// As [`RunningProgram::signal`]. With EAGAIN the signals before it are still on their way, and it has to be tried
    /// again when [`AsFd`]'s descriptor can be written.
    pub fn pass_on(&self, info: &siginfo) -> Result<(), CaptureError> {
        match concerns_program(info) {
            true => self.send(&Message::Signal(info.ssi_signo.cast_signed(), queued_value(info))),
            false => Ok(()),
        }
    }

    fn send(&self, message: &Message) -> Result<(), CaptureError> {
        let sent = self.tree.channel.send(message);
        sent.map_err(|errno| Failure::new(Step::Supervise, errno, "signal").into())
    }

    fn take(&mut self, received: Result<Option<Packet>, Errno>) -> Result<(), CaptureError> {
        let ended = match received {
            Ok(Some(packet)) => match packet.message {
                Message::Ended(status) => Ended::from_status(status),
                Message::Stopped(signal) => {
                    self.stopped_by = Some(signal);
                    return Ok(());
                }
                _ => return Ok(()),
            },
            // PID 1 was killed, and with it the program.
            Ok(None) => Ended::Signal(libc::SIGKILL),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(Failure::new(Step::Supervise, errno, "").into()),
        };
        self.tree.await_end();
        self.ended = Some(ended);
        Ok(())
    }
}

/// The letter of proc_pid_stat(5), after the program's name, which may hold anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

impl AsFd for RunningProgram {
    /// Readable when the program has ended or stopped.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.channel.as_fd()
    }
}

impl Ended {
    fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// The processes of a sandbox, and the way to PID 1.
#[derive(Debug)]
pub(crate) struct Tree {
    channel: Channel,
    /// The socket maker; PID 1 is its child, and ends before it.
    first: Pid,
    gone: bool,
}

impl Tree {
    pub(crate) fn new(channel: Channel, first: Pid) -> Self {
        Self { channel, first, gone: false }
    }

    /// The next message; `step` says what its sender is at.
    pub(crate) fn receive(&self, step: Step) -> Result<Packet, CaptureError> {
        let received = self.channel.receive().map_err(|errno| Failure::new(step, errno, ""))?;
        received.ok_or(CaptureError::Killed(step))
    }

    fn await_end(&mut self) {
        // ECHILD: the launcher lets the kernel reap its children.
        while waitpid(self.first, None) == Err(Errno::EINTR) {}
        self.gone = true;
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.gone {
            // PID 1 ends when it hears nobody any more, and so does the socket maker.
            let _ = shutdown(self.channel.as_fd().as_raw_fd(), Shutdown::Both);
            self.await_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_behind_any_name() {
        assert_eq!(state("7 (a) S (b)) T 1 7 7 0"), Some('T'));
        assert_eq!(state(""), None);
    }
}
