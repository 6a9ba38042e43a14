//! Which signals the program has got by itself. A signal to a process group, from the program's own `kill 0` or from
//! a shell's `kill %1`, reaches launcher, PID 1 and program alike: what the launcher passes on then would be the
//! second of its kind. PID 1 has its signals blocked and so can tell. No I/O; time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::inside::Processes;

/// What PID 1, or who stands in its place, has got besides the program.
#[derive(Debug)]
pub(crate) struct Witness {
    processes: Processes,
    /// By signal, until when it counts; `None`: until it is asked about.
    seen: BTreeMap<i32, Option<Instant>>,
}

impl Witness {
    pub(crate) fn new(processes: Processes) -> Self {
        Self { processes, seen: BTreeMap::new() }
    }

    /// A process has sent a signal; `sender` is 0 when it stands outside of the PID namespace. A program can
    /// signal its PID 1 alone, and nobody asks about that: so it counts for a moment only.
    pub(crate) fn note(&mut self, signal: i32, sender: u32, now: Instant) {
        let may_be_for_pid_1 = self.processes == Processes::Own && sender != 0;
        self.seen.insert(signal, may_be_for_pid_1.then(|| now + MOMENT));
    }

    /// Whether the signal that the launcher got went to the whole group. It is asked once for each.
    pub(crate) fn saw(&mut self, signal: i32, now: Instant) -> bool {
        self.seen.remove(&signal).is_some_and(|until| until.is_none_or(|until| now <= until))
    }
}

/// A launcher that runs passes a signal on sooner.
const MOMENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_the_group_is_seen_once() {
        let now = Instant::now();
        let mut witness = Witness::new(Processes::Own);
        witness.note(15, 0, now);
        assert!(!witness.saw(10, now));
        // A launcher that was stopped asks late.
        assert!(witness.saw(15, now + Duration::from_secs(3600)));
        assert!(!witness.saw(15, now));
    }

    #[test]
    fn what_a_program_sent_to_pid_1_swallows_no_later_signal() {
        let now = Instant::now();
        let mut witness = Witness::new(Processes::Own);
        witness.note(15, 7, now);
        witness.note(10, 7, now);
        assert!(witness.saw(10, now + Duration::from_millis(5)));
        assert!(!witness.saw(15, now + MOMENT + Duration::from_millis(1)));
        // Nobody knows of one who stands outside.
        let mut witness = Witness::new(Processes::Shared);
        witness.note(15, 7, now);
        assert!(witness.saw(15, now + Duration::from_secs(3600)));
    }
}
