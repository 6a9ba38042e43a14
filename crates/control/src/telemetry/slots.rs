//! Sums by series over the last while, in slots of equal width; what is older is forgotten. Knows
//! series by number only.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::sums::Sums;

/// The last slots. Times are counted from the control plane's beginning.
#[derive(Debug)]
pub(crate) struct Slots {
    width: Duration,
    keep: usize,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    sums: HashMap<u32, Sums>,
}

impl Slots {
    /// `keep` slots of `width`, at least a second each.
    pub(crate) fn new(width: Duration, keep: usize) -> Self {
        Self { width: width.max(Duration::from_secs(1)), keep, slots: VecDeque::new() }
    }

    /// Counts for a series. Time doesn't run backwards.
    pub(crate) fn add(&mut self, now: Duration, series: u32, sums: &Sums) {
        let number = self.number(now);
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Slot { number, sums: HashMap::new() });
            self.forget(number);
        }
        if let Some(last) = self.slots.back_mut() {
            last.sums.entry(series).or_default().add(sums);
        }
    }

    /// The sums of each series over the slots that `window` touches, and how long these cover.
    pub(crate) fn window(&self, now: Duration, window: Duration) -> (HashMap<u32, Sums>, Duration) {
        let last = self.number(now);
        let oldest = last.saturating_sub(self.keep as u64 - 1);
        let first = self.number(now.saturating_sub(window)).max(oldest);
        let mut found: HashMap<u32, Sums> = HashMap::new();
        for slot in self.slots.iter().filter(|slot| slot.number >= first) {
            for (series, sums) in &slot.sums {
                found.entry(*series).or_default().add(sums);
            }
        }
        let begin = Duration::from_secs(first.saturating_mul(self.width.as_secs()));
        (found, now.saturating_sub(begin))
    }

    /// How far back the slots reach at least: the newest may have only begun.
    pub(crate) fn reach(&self) -> Duration {
        self.width * u32::try_from(self.keep.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn number(&self, time: Duration) -> u64 {
        time.as_secs() / self.width.as_secs()
    }

    fn forget(&mut self, last: u64) {
        while self.slots.front().is_some_and(|slot| slot.number + self.keep as u64 <= last) {
            self.slots.pop_front();
        }
    }
}
