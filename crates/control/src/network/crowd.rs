//! How many connections each address has: one that opens them without end keeps nobody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is connected.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// A place for one more connection of an address; `None` when it has its fill.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut places = self.lock();
        let taken = places.entry(address).or_default();
        if *taken >= MAX_OF_ONE_ADDRESS {
            return None;
        }
        *taken += 1;
        Some(Place { crowd: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.crowd.lock();
        if let Some(taken) = places.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.address);
            }
        }
    }
}

/// A pod's proxy has two or three; a node behind whose address several call, some more.
const MAX_OF_ONE_ADDRESS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_fill_and_others_theirs() {
        let (crowd, one, other) = (Crowd::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut places: Vec<Place> = (0..MAX_OF_ONE_ADDRESS).map(|_| crowd.enter(one).unwrap()).collect();
        assert!(crowd.enter(one).is_none() && crowd.enter(other).is_some());
        places.pop();
        assert!(crowd.enter(one).is_some(), "a place is free again");
        places.clear();
        assert!(crowd.lock().is_empty());
    }
}
