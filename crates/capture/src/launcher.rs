//! What a launcher does to processes other than the sandbox's: its own network, its proxy's end,
//! and its own end.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::error::CaptureError;
use crate::{namespace, network, sys};

/// Moves this process, which must have one thread, into a network namespace of its own with
/// nothing but loopback; an ordinary user gets a user namespace for it. There the process may
/// capture packets, until it runs another program.
///
/// # Errors
/// [`CaptureError::Failed`] with the step that the kernel refused.
pub fn enter_private_network() -> Result<(), CaptureError> {
    namespace::enter()?;
    network::connect(&[])?;
    Ok(())
}

/// Makes a child that `command` starts end, by SIGTERM, when the thread that started it ends. A
/// child whose parent has died before it could ask for that isn't started. No signal is blocked in
/// it, whatever its parent blocks: it would outlive SIGTERM.
#[allow(unsafe_code, reason = "pre_exec")]
pub fn end_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let ask = move || {
        SigSet::empty().thread_set_mask()?;
        set_pdeathsig(Signal::SIGTERM)?;
        if Pid::parent() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec only sigprocmask(2), prctl(2) and getppid(2) are called, which are
    // async-signal-safe, and nothing is allocated: an errno converts to an io::Error without.
    unsafe { command.pre_exec(ask) };
}

/// Ends this process by `signal`, without another core dump. Returns when the signal can't end it.
pub fn end_by_signal(signal: i32) {
    // A limit that can't be lowered costs a second core file, no more.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    sys::suffer(signal);
}

/// Stops this process by `signal`; both it and SIGCONT are blocked. Returns when it was continued, or can't be stopped:
/// nobody could continue a process group without a parent in its session.
pub fn stop_by_signal(signal: i32) {
    sys::suffer(signal);
    // That it goes on tells of the SIGCONT already, and more surely: the kernel takes that back when the next stop comes.
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let continued = SignalFd::with_flags(&SigSet::from(Signal::SIGCONT), flags);
    let _ = continued.and_then(|continued| continued.read_signal());
}
