//! The calls that Rust and nix offer no safe form of. Each function is safe to call, and each
//! unsafe block is one call with its proof.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{ForkResult, Pid, fork};

/// Why no process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoProcess {
    /// This one has more threads than one.
    Threads(usize),
    /// The kernel refused.
    Refused(Errno),
}

/// Runs `body` in a child process, all signals blocked, and ends it with the code that `body` returns.
/// The child never comes back into its caller's code, not even by a panic.
#[allow(unsafe_code, reason = "fork")]
pub(crate) fn spawn(body: impl FnOnce() -> i32) -> Result<Pid, NoProcess> {
    let threads = threads();
    if threads != 1 {
        return Err(NoProcess::Threads(threads));
    }
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(NoProcess::Refused)?;
    // SAFETY: this process has one thread, as was just seen, so no lock is held by another and the child may
    // run any code.
    let forked = unsafe { fork() };
    match forked {
        Ok(ForkResult::Child) => exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(EXIT_PANIC)),
        Ok(ForkResult::Parent { child }) => {
            before.thread_set_mask().map_err(NoProcess::Refused)?;
            Ok(child)
        }
        Err(errno) => {
            before.thread_set_mask().map_err(NoProcess::Refused)?;
            Err(NoProcess::Refused(errno))
        }
    }
}

/// How many threads this process has; 0 when `/proc` doesn't tell.
fn threads() -> usize {
    // proc(5): the number of links of this folder is that of the threads, and two.
    fs::metadata("/proc/self/task").map_or(0, |task| task.nlink().saturating_sub(2) as usize)
}

#[allow(unsafe_code, reason = "_exit")]
fn exit(code: i32) -> ! {
    // SAFETY: it only ends the process. Exit handlers and output buffers belong to the process that
    // was forked, and must not run twice.
    unsafe { libc::_exit(code) }
}

/// Whether this process ignores a signal.
#[allow(unsafe_code, reason = "sigaction that only asks")]
pub(crate) fn ignores(signal: i32) -> bool {
    // SAFETY: zeroes are a valid sigaction: the default, no flags, an empty mask.
    let mut found: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `found` lives through the call.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut found) };
    asked == 0 && found.sa_sigaction == libc::SIG_IGN
}

/// Children are waited for, even where the launcher inherited that SIGCHLD is ignored.
pub(crate) fn await_children() {
    reset(libc::SIGCHLD);
}

/// Ignores a signal, where that can be.
pub(crate) fn ignore(signal: i32) {
    set_disposition(signal, libc::SIG_IGN);
}

/// What a signal does is its default again.
pub(crate) fn reset(signal: i32) {
    set_disposition(signal, libc::SIG_DFL);
}

/// SIGKILL, SIGSTOP and the two signals that glibc keeps to itself can't be set, and need not.
#[allow(unsafe_code, reason = "sigaction with realtime signals, which nix doesn't know")]
fn set_disposition(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: `handler` is SIG_IGN or SIG_DFL (the callers are in this file), no function that could be unfit.
    unsafe { libc::signal(signal, handler) };
}

#[allow(unsafe_code, reason = "a signal set with realtime signals, which nix doesn't know")]
pub(crate) fn add(set: &mut SigSet, signal: i32) {
    let mut raw = *set.as_ref();
    // SAFETY: `raw` is an initialized set, and lives through the call.
    unsafe { libc::sigaddset(&raw mut raw, signal) };
    // SAFETY: `raw` is a valid set; nix only warns of signals that it has no name for, which it keeps.
    *set = unsafe { SigSet::from_sigset_t_unchecked(raw) };
}

/// Sends a signal, realtime ones included.
#[allow(unsafe_code, reason = "kill with realtime signals, which nix doesn't know")]
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Sends a signal with a value, realtime ones included.
#[allow(unsafe_code, reason = "sigqueue, which nix doesn't know")]
pub(crate) fn queue(pid: Pid, signal: i32, value: u64) -> Result<(), Errno> {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value as usize) };
    // SAFETY: sigqueue touches no memory of ours; the value is a number to it.
    Errno::result(unsafe { libc::sigqueue(pid.as_raw(), signal, value) }).map(drop)
}

/// Has a signal do to this process what it does by default. Comes back when it was continued, or when the signal did
/// nothing. It is blocked then.
pub(crate) fn suffer(signal: i32) {
    set_disposition(signal, libc::SIG_DFL);
    let mut set = SigSet::empty();
    add(&mut set, signal);
    // While it is blocked, it becomes one with a terminal's that is still pending.
    let _ = set.thread_block();
    let _ = kill(Pid::this(), signal);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

/// Waits for a child without blocking: who ended, and the status as wait(2) gives it.
/// `Ok(None)` when none has; ECHILD when there is none.
pub(crate) fn ended_child() -> Result<Option<(Pid, i32)>, Errno> {
    wait_for_any(libc::WNOHANG)
}

/// Likewise, and who has stopped.
pub(crate) fn changed_child() -> Result<Option<(Pid, i32)>, Errno> {
    wait_for_any(libc::WNOHANG | libc::WUNTRACED)
}

#[allow(unsafe_code, reason = "waitpid with realtime signals, which nix doesn't know")]
fn wait_for_any(flags: i32) -> Result<Option<(Pid, i32)>, Errno> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, flags) })?;
    Ok((pid != 0).then_some((Pid::from_raw(pid), status)))
}

/// Sets a socket option that is a number.
#[allow(unsafe_code, reason = "options that neither nix nor socket2 knows")]
pub(crate) fn set_option(socket: &impl AsFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    let length = size_of::<i32>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length are `value`'s, which lives through the call.
    Errno::result(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Takes a capability out of what any later program may get. EINVAL: the kernel has none of this number.
#[allow(unsafe_code, reason = "prctl(PR_CAPBSET_DROP)")]
pub(crate) fn drop_from_bounding_set(capability: u8) -> Result<(), Errno> {
    // SAFETY: this operation takes numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }).map(drop)
}

/// Makes these the permitted and effective capabilities; nothing is inheritable.
#[allow(unsafe_code, reason = "capset")]
pub(crate) fn set_capabilities(capabilities: u64) -> Result<(), Errno> {
    // capset(2), version 3: version and pid (0: this process), then two halves of {effective, permitted, inheritable}.
    let header: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    let sets: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: both arrays have the layout that version 3 asks for, and live through the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) }).map(drop)
}

/// Takes over a descriptor that came with a message.
#[allow(unsafe_code, reason = "nix gives received descriptors as numbers")]
pub(crate) fn adopt(message: &nix::sys::socket::ControlMessageOwned) -> Vec<OwnedFd> {
    let nix::sys::socket::ControlMessageOwned::ScmRights(numbers) = message else { return Vec::new() };
    // SAFETY: the kernel has just made these descriptors for the receiver of this message, and
    // `channel::receive`, the only caller, adopts each message once.
    let own = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) };
    numbers.iter().map(own).collect()
}

/// Whether a descriptor would be closed by exec. `None`: there is no such descriptor.
#[allow(unsafe_code, reason = "fcntl on a number that may be no descriptor")]
pub(crate) fn closes_on_exec(number: RawFd) -> Option<bool> {
    // SAFETY: F_GETFD touches no memory, and a number that is none gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags & libc::FD_CLOEXEC != 0)
}

/// Closes a descriptor by its number.
#[allow(unsafe_code, reason = "close by number")]
pub(crate) fn close(number: RawFd) {
    // SAFETY: only used in a forked child on descriptors of its caller, whose owners never run there, and on standard
    // streams right before exec; see `spawn` and `descriptors`.
    unsafe { libc::close(number) };
}

/// The pointer that mount(2) takes for "nothing".
pub(crate) const NOTHING: Option<&str> = None;
const EXIT_PANIC: i32 = 101;
pub(crate) const LAST_SIGNAL: i32 = 64;
