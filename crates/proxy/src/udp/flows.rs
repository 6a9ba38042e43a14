//! Which flows of datagrams are open: bounded, the one that was used longest ago goes first. Pure; knows nothing of
//! what a flow holds.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::limits::{UDP_FLOWS, UDP_IDLE};

/// Who sends, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ends {
    /// The program's address.
    pub(super) source: SocketAddr,
    /// The address that it sends to.
    pub(super) destination: SocketAddr,
}

/// Open flows.
pub(super) struct Flows<T> {
    open: HashMap<Ends, (Instant, T)>,
    /// By their last use.
    order: BTreeSet<(Instant, Ends)>,
}

impl<T> Flows<T> {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), order: BTreeSet::new() }
    }

    /// The flow between these, which is used now.
    pub(super) fn find(&mut self, ends: Ends, now: Instant) -> Option<&T> {
        let (used, flow) = self.open.get_mut(&ends)?;
        self.order.remove(&(*used, ends));
        self.order.insert((now, ends));
        *used = now;
        Some(flow)
    }

    /// Keeps a new flow. Returns the one that had to go for it.
    pub(super) fn add(&mut self, ends: Ends, flow: T, now: Instant) -> Option<T> {
        let gone = if self.open.len() < UDP_FLOWS { None } else { self.take_oldest() };
        self.order.insert((now, ends));
        self.open.insert(ends, (now, flow));
        gone
    }

    /// Takes the flow that was used longest ago.
    pub(super) fn take_oldest(&mut self) -> Option<T> {
        let (_, ends) = self.order.pop_first()?;
        self.open.remove(&ends).map(|(_, flow)| flow)
    }

    /// Takes a flow that nobody has used for [`UDP_IDLE`].
    pub(super) fn take_idle(&mut self, now: Instant) -> Option<T> {
        if self.next_idle()? > now { None } else { self.take_oldest() }
    }

    /// When a flow will be idle, unless it is used before.
    pub(super) fn next_idle(&self) -> Option<Instant> {
        self.order.first().map(|(used, _)| *used + UDP_IDLE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ends(port: usize) -> Ends {
        let port = u16::try_from(port).unwrap();
        Ends { source: ([240, 240, 0, 7], port).into(), destination: ([192, 0, 2, 1], 9).into() }
    }

    #[test]
    fn the_flow_that_was_used_longest_ago_goes_first() {
        let (mut flows, start) = (Flows::new(), Instant::now());
        let at = |n: usize| start + Duration::from_millis(n as u64);
        for n in 0..UDP_FLOWS {
            assert_eq!(flows.add(ends(n), n, at(n)), None);
        }
        assert_eq!(flows.find(ends(0), at(UDP_FLOWS)), Some(&0));
        assert_eq!(flows.add(ends(UDP_FLOWS), UDP_FLOWS, at(UDP_FLOWS)), Some(1));
        assert_eq!(flows.find(ends(1), at(UDP_FLOWS)), None);
        assert_eq!((flows.open.len(), flows.order.len()), (UDP_FLOWS, UDP_FLOWS));
    }

    #[test]
    fn a_flow_is_idle_when_nobody_has_used_it_for_long() {
        let (mut flows, start) = (Flows::new(), Instant::now());
        let second = Duration::from_secs(1);
        flows.add(ends(1), 1, start);
        flows.add(ends(2), 2, start + second);
        assert_eq!(flows.next_idle(), Some(start + UDP_IDLE));
        flows.find(ends(1), start + 2 * second);
        assert_eq!(flows.take_idle(start + UDP_IDLE), None);
        assert_eq!(flows.take_idle(start + UDP_IDLE + second), Some(2));
        assert_eq!(flows.take_idle(start + UDP_IDLE + second), None);
        assert_eq!(flows.next_idle(), Some(start + UDP_IDLE + 2 * second));
        assert_eq!((flows.take_oldest(), flows.take_oldest()), (Some(1), None));
        assert_eq!(flows.next_idle(), None);
    }
}
