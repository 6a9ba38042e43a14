//! The signals that a launcher was given, and which standard streams, so that its program gets the same; and which of
//! those that it gets are its program's. Rust's runtime ignores SIGPIPE and opens closed streams before `main`; what
//! was there before is noted earlier.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::siginfo;

use crate::sys;

/// Which signals a process ignores and blocks: bit N-1 is signal N.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InheritedSignals {
    ignored: u64,
    blocked: u64,
    /// Standard streams that it hasn't got: bit N is descriptor N.
    closed: u8,
}

static IGNORED_PIPE: AtomicBool = AtomicBool::new(false);
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Runs before Rust's runtime, which changes what it notes.
// SAFETY: the loader calls each entry of this section once, as a C function, before `main`. It makes system calls and
// stores into atomics only, which need no runtime, and can't panic.
#[allow(unsafe_code, reason = "what was inherited is known before Rust's runtime starts, and not after")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    IGNORED_PIPE.store(sys::ignores(libc::SIGPIPE), Ordering::Relaxed);
    let closed =
        (0..3).filter(|stream| sys::closes_on_exec(*stream).is_none()).fold(0, |bits, stream| bits | 1 << stream);
    CLOSED.store(closed, Ordering::Relaxed);
}

impl InheritedSignals {
    /// This process's, from `/proc/self/status`. Call it first in `main`, before any handler is set.
    pub fn of_this_process() -> Self {
        let masks = fs::read_to_string("/proc/self/status").map(|status| Self::parse(&status)).unwrap_or_default();
        let pipe = if IGNORED_PIPE.load(Ordering::Relaxed) { PIPE } else { 0 };
        Self { ignored: masks.ignored | pipe, closed: CLOSED.load(Ordering::Relaxed), ..masks }
    }

    fn parse(status: &str) -> Self {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
        };
        Self { ignored: mask("SigIgn:") & !PIPE, blocked: mask("SigBlk:"), closed: 0 }
    }

    /// Likewise, where standard output and errors have been given since.
    pub fn with_output(self) -> Self {
        Self { closed: self.closed & 1, ..self }
    }

    /// Whether a signal is ignored, as `nohup` has it of SIGHUP.
    pub fn ignores(&self, signal: i32) -> bool {
        self.ignored & (1 << (signal - 1)) != 0
    }

    fn blocks(&self, signal: i32) -> bool {
        self.blocked & (1 << (signal - 1)) != 0
    }

    /// Gives them to this process; handlers become defaults.
    pub(crate) fn restore(self) -> Result<(), Errno> {
        let mut blocked = SigSet::empty();
        for signal in 1..=sys::LAST_SIGNAL {
            if self.ignores(signal) {
                sys::ignore(signal)
            } else {
                sys::reset(signal)
            }
            if self.blocks(signal) {
                sys::add(&mut blocked, signal);
            }
        }
        blocked.thread_set_mask()
    }

    /// The standard streams that weren't there.
    pub(crate) fn closed_streams(&self) -> impl Iterator<Item = i32> + use<> {
        let closed = self.closed;
        (0..3).filter(move |stream| closed & 1 << stream != 0)
    }
}

/// Whether a signal that a launcher got is its program's: any that a process sent. Of the kernel's, a terminal's keys reach
/// the program by themselves, in the launcher's process group, and children and limits are the launcher's own. But who
/// hangs up tells the session's leader alone, and an alarm was set before this process became a launcher.
pub(crate) fn concerns_program(info: &siginfo) -> bool {
    let is_from_kernel = info.ssi_code > 0;
    // SIGPIPE and SIGXFSZ, which the kernel gives the writer for their sender.
    let is_own = info.ssi_pid == std::process::id();
    match info.ssi_signo.cast_signed() {
        libc::SIGHUP | libc::SIGCONT | libc::SIGALRM => true,
        _ => !is_from_kernel && !is_own,
    }
}

/// What sigqueue(3) sent along.
pub(crate) fn queued_value(info: &siginfo) -> Option<u64> {
    (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_ptr)
}

const PIPE: u64 = 1 << (libc::SIGPIPE - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_from_the_status() {
        let status = "Name:\tx\nSigPnd:\t0000000000000000\nSigBlk:\t0000000000000200\nSigIgn:\t0000000000001001\n";
        let signals = InheritedSignals::parse(status);
        assert!(signals.ignores(libc::SIGHUP) && !signals.ignores(libc::SIGPIPE) && !signals.ignores(libc::SIGTERM));
        assert!(signals.blocks(libc::SIGUSR1) && !signals.blocks(libc::SIGHUP));
    }
}
