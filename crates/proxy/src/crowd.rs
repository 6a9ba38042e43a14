//! Who has how much of what is bounded: one address never has more than half of it, so that whoever
//! floods keeps nobody else out. Knows addresses and numbers only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of which an address has at most half; further ones are refused.
pub(crate) struct Crowd {
    most: usize,
    taken: RefCell<HashMap<IpAddr, usize>>,
}

/// One place, until it is dropped.
pub(crate) struct Place {
    crowd: Rc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// Of `all` places.
    pub(crate) fn new(all: usize) -> Self {
        Self { most: all / 2, taken: RefCell::default() }
    }

    /// A place for one more of an address; `None` when it has its half.
    pub(crate) fn enter(self: &Rc<Self>, address: IpAddr) -> Option<Place> {
        let mut places = self.taken.borrow_mut();
        let taken = places.entry(address).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.crowd.taken.borrow_mut();
        if let Some(taken) = places.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.address);
            }
        }
    }
}

/// Turns at something that takes a moment, of which an address has at most half; further ones wait.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    most: usize,
    own: RefCell<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// One turn, until it is dropped.
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// Of so many turns at once.
    pub(crate) fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), most: all / 2, own: RefCell::default() }
    }

    /// Waits for a turn; `None` never happens, for nothing closes the semaphores.
    pub(crate) async fn take(&self, address: IpAddr) -> Option<Turn> {
        let own = self.own(address).acquire_owned().await.ok()?;
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn { _own: own, _all: all })
    }

    /// The turns of an address. Those of others that have ended theirs are forgotten.
    fn own(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut own = self.own.borrow_mut();
        if own.len() >= self.most {
            own.retain(|_, turns| turns.available_permits() < self.most || Arc::strong_count(turns) > 1);
        }
        own.entry(address).or_insert_with(|| Arc::new(Semaphore::new(self.most))).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn an_address_has_half_and_others_have_theirs() {
        let crowd = Rc::new(Crowd::new(6));
        let mut places: Vec<Place> = (0..3).map(|_| crowd.enter(ONE).unwrap()).collect();
        assert!(crowd.enter(ONE).is_none() && crowd.enter(OTHER).is_some());
        places.pop();
        assert!(crowd.enter(ONE).is_some(), "a place is free again");
        places.clear();
        assert!(crowd.taken.borrow().is_empty());
    }

    #[test]
    fn who_has_its_half_waits_and_others_don_t() {
        let turns = Turns::new(4);
        let take = |address| turns.take(address).now_or_never().flatten();
        let (first, second) = (take(ONE).unwrap(), take(ONE).unwrap());
        assert!(take(ONE).is_none());
        let others = [take(OTHER).unwrap(), take(OTHER).unwrap()];
        drop(first);
        let third = take(ONE).unwrap();
        drop((second, others, third));
        for n in 0..100 {
            drop(take(IpAddr::from([10, 1, 0, n])).unwrap());
        }
        assert!(turns.own.borrow().len() <= 3, "who has gone is forgotten");
    }
}
