//! Which signals the program has got by itself. A signal to a process group, from the program's own `kill 0` or from
//! a shell's `kill %1`, reaches launcher, PID 1 and program alike: what the launcher passes on then would be the
//! second of its kind. PID 1 has its signals blocked and so can tell. No I/O; time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::blueprint::Processes;

/// What PID 1, or who stands in its place, has got besides the program.
#[derive(Debug)]
pub(crate) struct Witness {
    processes: Processes,
    /// By signal.
    seen: BTreeMap<i32, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// How many may be asked about. Only realtime signals queue, and so come to all in the same number.
    count: u32,
    /// Until when they count; `None`: until they are asked about.
    until: Option<Instant>,
}

impl Witness {
    pub(crate) fn new(processes: Processes) -> Self {
        Self { processes, seen: BTreeMap::new() }
    }

    /// A signal was sent; `sender` is 0 when that stands outside of the PID namespace. A program can
    /// signal its PID 1 alone, and nobody asks about that: so it counts for a moment only.
    pub(crate) fn note(&mut self, signal: i32, sender: u32, now: Instant) {
        let may_be_for_pid_1 = self.processes == Processes::Own && sender != 0;
        let until = may_be_for_pid_1.then(|| now + MOMENT);
        let before = self.seen.get(&signal).filter(|seen| signal >= libc::SIGRTMIN() && seen.counts(now));
        let count = before.map_or(0, |seen| seen.count).saturating_add(1);
        self.seen.insert(signal, Seen { count, until });
    }

    /// Whether the signal that the launcher got went to the whole group. It is asked once for each.
    pub(crate) fn saw(&mut self, signal: i32, now: Instant) -> bool {
        if signal == libc::SIGCONT {
            // The kernel has taken back those that the launcher hadn't read yet.
            self.forget_stops();
        }
        let Some(seen) = self.seen.remove(&signal).filter(|seen| seen.counts(now)) else { return false };
        if seen.count > 1 {
            self.seen.insert(signal, Seen { count: seen.count - 1, ..seen });
        }
        true
    }

    /// PID 1 has sent the program a signal. SIGCONT takes back a stop that the program got by itself just before, and a
    /// stop takes back SIGCONT: then the launcher's word of what was taken back counts.
    pub(crate) fn sent(&mut self, signal: i32) {
        if signal == libc::SIGCONT {
            self.forget_stops();
        } else if STOPS.contains(&signal) {
            self.seen.remove(&libc::SIGCONT);
        }
    }

    fn forget_stops(&mut self) {
        self.seen.retain(|signal, _| !STOPS.contains(signal));
    }
}

impl Seen {
    fn counts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now <= until)
    }
}

/// Those of signal(7) that stop by default, and that SIGCONT takes back.
const STOPS: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

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
    fn realtime_signals_are_counted() {
        let now = Instant::now();
        let mut witness = Witness::new(Processes::Own);
        for signal in [40, 40, 15, 15] {
            witness.note(signal, 0, now);
        }
        assert_eq!([40, 40, 40, 15, 15].map(|signal| witness.saw(signal, now)), [true, true, false, true, false]);
    }

    #[test]
    fn what_is_continued_was_told_of_no_stop() {
        let now = Instant::now();
        let mut witness = Witness::new(Processes::Own);
        for signal in [libc::SIGTSTP, libc::SIGTERM, libc::SIGCONT] {
            witness.note(signal, 0, now);
        }
        let asked = [libc::SIGCONT, libc::SIGTSTP, libc::SIGTERM];
        assert_eq!(asked.map(|signal| witness.saw(signal, now)), [true, false, true]);
    }

    #[test]
    fn what_pid_1_took_back_is_the_launchers_to_tell() {
        let now = Instant::now();
        let mut witness = Witness::new(Processes::Own);
        for (by_itself, by_pid_1) in [(libc::SIGTSTP, libc::SIGCONT), (libc::SIGCONT, libc::SIGTTIN)] {
            witness.note(by_itself, 0, now);
            witness.sent(by_pid_1);
            assert!(!witness.saw(by_itself, now));
        }
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
