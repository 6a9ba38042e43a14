//! How many connections each address has: one that opens them without end keeps nobody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is connected, with at most so many connections each.
#[derive(Debug, Clone)]
pub struct Crowd {
    most: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// An address has at most `most` connections.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place for one more connection of an address; `None` when it has its fill.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut places = self.lock();
        let taken = places.entry(address).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Place { crowd: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_fill_and_others_theirs() {
        let (crowd, one, other) = (Crowd::new(3), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut places: Vec<Place> = (0..3).map(|_| crowd.enter(one).unwrap()).collect();
        assert!(crowd.enter(one).is_none() && crowd.enter(other).is_some());
        places.pop();
        assert!(crowd.enter(one).is_some(), "a place is free again");
        places.clear();
        assert!(crowd.lock().is_empty());
    }
}
