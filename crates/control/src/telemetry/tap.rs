//! Those who watch calls: each has a filter, which proxies apply, and a bounded queue, which loses
//! what its reader is too slow for. Knows no streams of proxies.

use std::collections::BTreeMap;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use weft_wire::proto::weft::v1::{NumberedFilter, TapEvent, TapEvents, TapFilter};

/// Everyone who watches.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    last: u64,
    open: BTreeMap<u64, Tap>,
}

#[derive(Debug)]
struct Tap {
    filter: TapFilter,
    events: Sender<TapEvents>,
    dropped: u64,
}

impl Taps {
    /// Somebody begins to watch; `None` when too many do.
    pub(crate) fn begin(&mut self, filter: TapFilter) -> Option<(u64, Receiver<TapEvents>)> {
        if self.open.len() >= MAX_TAPS {
            return None;
        }
        let (events, receiver) = channel(MAX_QUEUED);
        self.last += 1;
        self.open.insert(self.last, Tap { filter, events, dropped: 0 });
        Some((self.last, receiver))
    }

    /// Somebody has seen enough.
    pub(crate) fn end(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Whether anybody watches.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What proxies are to look for.
    pub(crate) fn filters(&self) -> Vec<NumberedFilter> {
        let numbered =
            |(number, tap): (&u64, &Tap)| NumberedFilter { number: *number, filter: Some(tap.filter.clone()) };
        self.open.iter().map(numbered).collect()
    }

    /// Hands a proxy's events to those whose filters admit them; `lost` were lost by the proxy.
    pub(crate) fn deliver(&mut self, events: &[TapEvent], lost: u64) {
        for (number, tap) in &mut self.open {
            let admitted = events.iter().filter(|event| event.numbers.contains(number));
            let events: Vec<TapEvent> =
                admitted.map(|event| TapEvent { numbers: Vec::new(), ..event.clone() }).collect();
            tap.deliver(events, lost);
        }
    }
}

impl Tap {
    fn deliver(&mut self, events: Vec<TapEvent>, lost: u64) {
        self.dropped += lost;
        if events.is_empty() && self.dropped == 0 {
            return;
        }
        let count = events.len() as u64;
        match self.events.try_send(TapEvents { events, dropped: self.dropped }) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += count,
        }
    }
}

/// Watchers at once: each costs every proxy a look at every call.
const MAX_TAPS: usize = 16;
/// Messages that wait for one watcher; a message holds what one proxy saw in a quarter of a second.
const MAX_QUEUED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(numbers: &[u64]) -> TapEvent {
        TapEvent { numbers: numbers.to_vec(), ..TapEvent::default() }
    }

    #[test]
    fn each_watcher_gets_what_is_meant_for_it() {
        let mut taps = Taps::default();
        let (one, mut first) = taps.begin(TapFilter::default()).unwrap();
        let (two, mut second) = taps.begin(TapFilter::default()).unwrap();
        taps.deliver(&[event(&[one]), event(&[one, two]), event(&[99])], 0);
        assert_eq!(first.try_recv().unwrap().events.len(), 2);
        assert_eq!(second.try_recv().unwrap().events.len(), 1);
        taps.end(one);
        assert_eq!(taps.filters().len(), 1);
        taps.deliver(&[event(&[one])], 0);
        assert!(second.try_recv().is_err(), "nothing to tell");
    }

    #[test]
    fn a_slow_watcher_is_told_what_it_lost() {
        let mut taps = Taps::default();
        let (number, mut events) = taps.begin(TapFilter::default()).unwrap();
        for _ in 0..MAX_QUEUED + 3 {
            taps.deliver(&[event(&[number])], 0);
        }
        for _ in 0..MAX_QUEUED {
            assert_eq!(events.try_recv().unwrap().dropped, 0);
        }
        taps.deliver(&[], 2);
        assert_eq!(events.try_recv().unwrap(), TapEvents { events: Vec::new(), dropped: 5 });
    }

    #[test]
    fn watchers_are_bounded() {
        let mut taps = Taps::default();
        let _held: Vec<_> = (0..MAX_TAPS).map(|_| taps.begin(TapFilter::default()).unwrap()).collect();
        assert!(taps.begin(TapFilter::default()).is_none());
    }
}
