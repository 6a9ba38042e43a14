//! Who has how many connections: one that opens them without end keeps nobody else out, and all
//! together leave the process what else it needs. Knows names of callers and numbers only.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is connected: so many each, and so many in all. A caller is known by its address, or by whatever
/// else tells it from others.
#[derive(Debug)]
pub struct Crowd<K> {
    all: usize,
    most: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    own: HashMap<K, usize>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Copy + Eq + Hash> {
    taken: Arc<Mutex<Taken<K>>>,
    who: K,
}

impl<K: Copy + Eq + Hash> Crowd<K> {
    /// Of `all` places one caller has at most `most`.
    pub fn new(all: usize, most: usize) -> Self {
        let taken = Taken { all: 0, own: HashMap::new() };
        Self { all, most, taken: Arc::new(Mutex::new(taken)) }
    }

    /// A place for one more connection of a caller; `None` when it has its fill, or no place is left.
    pub fn enter(&self, who: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let own = taken.own.get(&who).copied().unwrap_or_default();
        if taken.all >= self.all || own >= self.most {
            return None;
        }
        taken.all += 1;
        taken.own.insert(who, own + 1);
        Some(Place { taken: Arc::clone(&self.taken), who })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(own) = taken.own.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.own.remove(&self.who);
            }
        }
    }
}

fn lock<K>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_fill_and_others_theirs_until_no_place_is_left() {
        let crowd = Crowd::new(5, 3);
        let mut places: Vec<Place<char>> = (0..3).map(|_| crowd.enter('a').unwrap()).collect();
        assert!(crowd.enter('a').is_none());
        let others = [crowd.enter('b').unwrap(), crowd.enter('c').unwrap()];
        assert!(crowd.enter('d').is_none(), "all are taken");
        places.pop();
        assert!(crowd.enter('a').is_some(), "a place is free again");
        drop((places, others));
        let taken = lock(&crowd.taken);
        assert!(taken.all == 0 && taken.own.is_empty());
    }
}
