//! The signals that a launcher was given, and which standard streams, so that its program gets the same. Rust's
//! runtime ignores SIGPIPE and opens closed streams before `main`; what was there before is noted earlier.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::sys;

/// Which signals a process ignores and blocks: bit N-1 is signal N.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InheritedSignals {
    pub(crate) ignored: u64,
    pub(crate) blocked: u64,
    /// Standard streams that it hasn't got: bit N is descriptor N.
    closed: u8,
}

static IGNORED_PIPE: AtomicBool = AtomicBool::new(false);
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// What Rust's runtime is about to change.
pub(crate) fn note_inherited() {
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

    pub(crate) fn ignores(&self, signal: i32) -> bool {
        self.ignored & (1 << (signal - 1)) != 0
    }

    pub(crate) fn blocks(&self, signal: i32) -> bool {
        self.blocked & (1 << (signal - 1)) != 0
    }

    /// The standard streams that weren't there.
    pub(crate) fn closed_streams(&self) -> impl Iterator<Item = i32> + use<> {
        let closed = self.closed;
        (0..3).filter(move |stream| closed & 1 << stream != 0)
    }
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
