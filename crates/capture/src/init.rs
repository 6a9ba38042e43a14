//! PID 1 of a sandbox: arranges what the program sees, waits for the word, runs it, reaps, and ends when the
//! program has ended. Then the kernel ends whatever the program left behind.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, execvpe, getpgid, pipe2, setpgid};

use crate::blueprint::{Blueprint, Processes};
use crate::channel::Channel;
use crate::error::{Failure, Step};
use crate::guard::{end_with_parent, untraceable};
use crate::message::Message;
use crate::namespaces::Namespaces;
use crate::plan::Program;
use crate::signals::{concerns_program, queued_value};
use crate::sys::NoProcess;
use crate::user::RunAs;
use crate::witness::Witness;
use crate::{capability, descriptors, mounts, sys};

/// PID 1's life; its exit code tells nothing.
pub(crate) fn run(blueprint: &Blueprint<'_>, launcher: &Channel) -> i32 {
    if let Err(failure) = prepare(blueprint, launcher) {
        // If the launcher is gone, nobody wants to know.
        let _ = launcher.send(&Message::Failed(failure));
        return 1;
    }
    if !is_told_to_go(launcher) {
        return 0;
    }
    let program = &blueprint.plan.program;
    run_to_end(launcher, blueprint.processes, || become_program(program, blueprint.processes, launcher))
}

/// Runs what `become_program` makes of a new process until it has ended, or the launcher. Returns an exit code that
/// tells nothing.
pub(crate) fn run_to_end(launcher: &Channel, processes: Processes, become_program: impl FnOnce() -> Errno) -> i32 {
    let ended = match start(launcher, become_program) {
        Ok(program) => supervise(launcher, program, Witness::new(processes)),
        Err(errno) => launcher.send(&Message::NotRunning(errno as i32)),
    };
    if processes == Processes::Shared {
        end_descendants();
    }
    i32::from(ended.is_err())
}

fn prepare(blueprint: &Blueprint<'_>, launcher: &Channel) -> Result<(), Failure> {
    untraceable()?;
    match blueprint.processes {
        Processes::Own => end_with_parent()?,
        // It must outlive a killed launcher for the moment that ending the program's descendants takes; that
        // nobody is at the other end of the channel tells it.
        Processes::Shared => {
            prctl::set_child_subreaper(true).map_err(|errno| Failure::new(Step::Supervise, errno, "subreaper"))?
        }
    }
    let hand_over = |errno| Failure::new(Step::HandOver, errno, "");
    for note in mounts::arrange(blueprint)? {
        launcher.send(&Message::Note(note)).map_err(hand_over)?;
    }
    let namespaces = Namespaces::of_this_process()?;
    capability::restrict()?;
    launcher.send_with(&Message::Ready, &namespaces.numbers()).map_err(hand_over)
}

pub(crate) fn is_told_to_go(launcher: &Channel) -> bool {
    loop {
        match launcher.receive() {
            Ok(Some(packet)) if packet.message == Message::Go => return true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Runs the program. A pipe that exec closes tells whether exec succeeded.
fn start(launcher: &Channel, become_program: impl FnOnce() -> Errno) -> Result<Pid, Errno> {
    let (failed, fails) = pipe2(OFlag::O_CLOEXEC)?;
    let mut fails = fs::File::from(fails);
    let program = sys::spawn(|| {
        let errno = become_program();
        // If PID 1 is gone, this process is as well.
        let _ = fails.write_all(&(errno as i32).to_ne_bytes());
        127
    });
    let program = program.map_err(|reason| match reason {
        NoProcess::Refused(errno) => errno,
        NoProcess::Threads(_) => Errno::EPROTO,
    })?;
    drop(fails);
    let mut errno = [0; 4];
    match fs::File::from(failed).read_exact(&mut errno) {
        Ok(()) => Err(Errno::from_raw(i32::from_ne_bytes(errno))),
        Err(_) => launcher.send(&Message::Running).map(|()| program),
    }
}

/// Only comes back when it fails.
pub(crate) fn become_program(program: &Program, processes: Processes, launcher: &Channel) -> Errno {
    if let Some(Err(failure)) = program.user.as_ref().map(RunAs::assume) {
        let errno = Errno::from_raw(failure.errno);
        // If the launcher is gone, nobody wants to know.
        let _ = launcher.send(&Message::Failed(failure));
        return errno;
    }
    let run = || {
        if processes == Processes::Shared {
            // After it: another user undoes it.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        launcher.send(&Message::Hello)?;
        let argv = program.argv.iter().map(c_string).collect::<Result<Vec<CString>, Errno>>()?;
        let environment = environment(program.user.as_ref())?;
        program.signals.restore()?;
        program.signals.closed_streams().for_each(sys::close);
        execvpe(argv.first().ok_or(Errno::ENOENT)?, &argv, &environment)
    };
    match run() {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

/// The launcher's, save what names another user's own things.
fn environment(user: Option<&RunAs>) -> Result<Vec<CString>, Errno> {
    let own: Vec<(&str, OsString)> = user.map(RunAs::environment).into_iter().flatten().collect();
    let inherited = std::env::vars_os().filter(|(name, _)| !own.iter().any(|(own, _)| name == own));
    let own = own.iter().map(|(name, value)| (OsString::from(name), value.clone()));
    inherited.chain(own).map(|(name, value)| c_string(&[name, value].join("=".as_ref()))).collect()
}

fn c_string(word: &OsString) -> Result<CString, Errno> {
    CString::new(word.as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Passes signals on and reaps until the program has ended, or the launcher.
fn supervise(launcher: &Channel, program: Pid, mut witness: Witness) -> Result<(), Errno> {
    descriptors::close_all(&[launcher.as_fd()])?;
    // All of them are blocked already; see `sys::spawn`.
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        hear(&signals, &mut witness)?;
        // The program may have ended before its end could be signalled here.
        if let Some(status) = reap(launcher, program)? {
            return launcher.send(&Message::Ended(status));
        }
        let mut watched =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(launcher.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if watched[1].any() == Some(true) {
            // The kernel signals the members of a group before their leader, whose word this may be.
            hear(&signals, &mut witness)?;
            match launcher.try_receive() {
                Ok(Some(packet)) => pass_on(&packet.message, program, &signals, &mut witness)?,
                Err(Errno::EAGAIN) => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

/// Takes all signals in, and notes those that a launcher that got them too will pass on. None with a value is sent to
/// a group.
fn hear(signals: &SignalFd, witness: &mut Witness) -> Result<(), Errno> {
    while let Some(info) = signals.read_signal()? {
        if concerns_program(&info) && queued_value(&info).is_none() {
            witness.note(info.ssi_signo.cast_signed(), info.ssi_pid, Instant::now());
        }
    }
    Ok(())
}

fn pass_on(message: &Message, program: Pid, signals: &SignalFd, witness: &mut Witness) -> Result<(), Errno> {
    let Message::Signal(signal, value) = message else { return Ok(()) };
    let is_in_our_group = getpgid(Some(program)) == getpgid(None);
    // It isn't reaped yet, so the number is still its own; a signal that doesn't exist is the sender's fault.
    let _ = match value {
        Some(value) => sys::queue(program, *signal, *value),
        None if witness.saw(*signal, Instant::now()) && is_in_our_group => return Ok(()),
        None => sys::kill(program, *signal),
    };
    if *signal == libc::SIGCONT {
        await_group_signals(program);
        hear(signals, witness)?;
    }
    witness.sent(*signal);
    Ok(())
}

/// Comes back when a signal to a process group that was on its way has come to all of the group. The kernel holds its
/// list of tasks meanwhile, and setpgid(2) waits for that before it refuses what it is asked: the program was executed.
fn await_group_signals(program: Pid) {
    let _ = setpgid(program, program);
}

/// Reaps all that have ended; the program's status when it is among them. Tells when it has stopped.
fn reap(launcher: &Channel, program: Pid) -> Result<Option<i32>, Errno> {
    let mut status = None;
    loop {
        match sys::changed_child() {
            Ok(Some((pid, _))) if pid != program => {}
            Ok(Some((_, changed))) if libc::WIFSTOPPED(changed) => {
                launcher.send(&Message::Stopped(libc::WSTOPSIG(changed)))?
            }
            Ok(Some((_, ended))) => status = Some(ended),
            Ok(None) | Err(Errno::ECHILD) => return Ok(status),
            Err(errno) => return Err(errno),
        }
    }
}

/// Without a PID namespace: orphans come to this process, which ends them, and theirs, until none is left.
fn end_descendants() {
    let children = || fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this())).unwrap_or_default();
    loop {
        for pid in children().split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = sys::kill(Pid::from_raw(pid), libc::SIGKILL);
        }
        if nix::sys::wait::waitpid(None::<Pid>, None) == Err(Errno::ECHILD) {
            return;
        }
    }
}
