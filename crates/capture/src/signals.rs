//! The signals that a launcher was given, so that its program gets the same. Reads `/proc` only.

use std::fs;

/// Which signals a process ignores and blocks: bit N-1 is signal N.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InheritedSignals {
    pub(crate) ignored: u64,
    pub(crate) blocked: u64,
}

impl InheritedSignals {
    /// This process's, from `/proc/self/status`. Call it first in `main`, before any handler is set.
    /// Rust's runtime ignores SIGPIPE before that, so what was inherited for SIGPIPE can't be
    /// known: programs get the default, as from any other launcher in Rust or Python.
    pub fn of_this_process() -> Self {
        fs::read_to_string("/proc/self/status").map(|status| Self::parse(&status)).unwrap_or_default()
    }

    fn parse(status: &str) -> Self {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
        };
        let pipe = 1 << (libc::SIGPIPE - 1);
        Self { ignored: mask("SigIgn:") & !pipe, blocked: mask("SigBlk:") }
    }

    pub(crate) fn ignores(&self, signal: i32) -> bool {
        self.ignored & (1 << (signal - 1)) != 0
    }

    pub(crate) fn blocks(&self, signal: i32) -> bool {
        self.blocked & (1 << (signal - 1)) != 0
    }
}

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
