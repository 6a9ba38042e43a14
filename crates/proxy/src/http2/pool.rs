//! The connections that streams of many callers share, by where they go. Few for each place:
//! another is dialled when all have their fill, once for all who wait; those that are told to go
//! away, or lie idle, are given up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use tokio::time::Instant;

use super::connection::{Lease, Shared};
use crate::dialling::Dialling;
use crate::limits::{H2_STALLED_CONNECTIONS, WARM_IDLE};
use crate::why::Failure;

/// Shared connections; `K` is all that tells one place from another.
pub(crate) struct Connections<K> {
    places: RefCell<HashMap<K, Rc<Place>>>,
}

#[derive(Default)]
struct Place {
    open: RefCell<Vec<Rc<Shared>>>,
    dialling: Dialling,
}

impl<K: Hash + Eq + Clone> Connections<K> {
    /// The right to a stream to `key`, on a connection that `dial` makes if need be.
    ///
    /// # Errors
    /// What `dial` says, to whoever waited for it meanwhile, too. Nothing was sent then.
    pub(super) async fn lease(
        &self,
        key: &K,
        dial: impl AsyncFnOnce() -> Result<Rc<Shared>, Failure>,
    ) -> Result<Lease, Failure> {
        let place = self.place(key);
        place.dialling.once(|| place.lease(), async || Ok(place.add(dial().await?))).await
    }

    /// Gives up what is idle. Returns whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut places = self.places.borrow_mut();
        places.retain(|_, place| {
            let before = now.checked_sub(WARM_IDLE);
            place.open.borrow_mut().retain(|shared| before.is_none_or(|before| !shared.is_idle(before)));
            // Whoever dials or waits holds the place.
            !place.open.borrow().is_empty() || Rc::strong_count(place) > 1
        });
        !places.is_empty()
    }

    /// Gives up all: the proxy ends. Streams that are open go on.
    pub(crate) fn clear(&self) {
        self.places.borrow_mut().clear();
    }

    fn place(&self, key: &K) -> Rc<Place> {
        if let Some(place) = self.places.borrow().get(key) {
            return place.clone();
        }
        self.places.borrow_mut().entry(key.clone()).or_default().clone()
    }
}

impl<K> Default for Connections<K> {
    fn default() -> Self {
        Self { places: RefCell::default() }
    }
}

impl Place {
    /// A right on the oldest connection that has room, so that others can fall idle; on one whose
    /// streams stall only if there are many already.
    fn lease(&self) -> Option<Lease> {
        let open = self.open.borrow();
        let flowing = open.iter().filter(|shared| !shared.is_stalled()).find_map(Shared::lease);
        flowing.or_else(|| open.iter().filter(|_| open.len() >= H2_STALLED_CONNECTIONS).find_map(Shared::lease))
    }

    fn add(&self, shared: Rc<Shared>) -> Lease {
        let lease = shared.first_lease();
        let mut open = self.open.borrow_mut();
        open.retain(|other| !other.is_closing());
        open.push(shared);
        lease
    }
}
