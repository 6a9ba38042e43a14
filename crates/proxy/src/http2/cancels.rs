//! Streams that a peer cancels: a few are every client's right, a flood makes work for others at no cost of
//! its own. Pure: the time comes from the caller.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::H2_CANCELS_PER_SECOND;

/// How many streams were cancelled within the current second (CVE-2023-44487).
pub(super) struct Cancels {
    since: Cell<Instant>,
    count: Cell<u32>,
}

impl Cancels {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Cell::new(now), count: Cell::new(0) }
    }

    /// Counts one.
    pub(super) fn count(&self, now: Instant) {
        if !self.is_flood() && now.saturating_duration_since(self.since.get()) >= Duration::from_secs(1) {
            self.since.set(now);
            self.count.set(0);
        }
        self.count.set(self.count.get().saturating_add(1));
    }

    /// Whether there were too many; it stays so.
    pub(super) fn is_flood(&self) -> bool {
        self.count.get() > H2_CANCELS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_in_one_second_are_a_flood_and_in_two_are_none() {
        let begin = Instant::now();
        let counted = |seconds: &[u64]| {
            let cancels = Cancels::new(begin);
            for second in seconds {
                for _ in 0..H2_CANCELS_PER_SECOND {
                    cancels.count(begin + Duration::from_secs(*second));
                }
            }
            cancels
        };
        assert!(!counted(&[0, 1, 2]).is_flood());
        assert!(counted(&[0, 0, 9]).is_flood());
    }
}
