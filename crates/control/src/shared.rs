//! The plane as its tasks share it: one lock, held for a change and never across a wait, and the
//! bells that tell others of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::distribute::SubscriberId;
use crate::plane::Plane;
use crate::registry::Registration;

/// Handed to every task; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Rings when workloads or addresses have changed.
    registrations: watch::Sender<()>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
struct State {
    plane: Plane,
    bells: HashMap<SubscriberId, Arc<Notify>>,
}

/// Where the control plane is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Running,
    /// It serves until the workloads have stopped.
    StoppingWorkloads,
    /// Everything ends; workloads go on.
    Ending,
}

impl Shared {
    pub(crate) fn new(plane: Plane) -> Self {
        let state = Mutex::new(State { plane, bells: HashMap::new() });
        let phase = watch::Sender::new(Phase::Running);
        Self(Arc::new(Inner { state, registrations: watch::Sender::default(), phase }))
    }

    /// Looks at the plane or changes it, and tells those whom a change concerns.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Plane) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state.plane);
        let changes = state.plane.changes();
        for bell in changes.wake.iter().filter_map(|id| state.bells.get(id)) {
            bell.notify_one();
        }
        if changes.unsaved {
            self.0.registrations.send_replace(());
        }
        result
    }

    /// Gives a subscriber's stream its bell.
    pub(crate) fn hang_bell(&self, id: SubscriberId) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.lock().bells.insert(id, Arc::clone(&bell));
        bell
    }

    /// Takes it back.
    pub(crate) fn take_bell(&self, id: SubscriberId) {
        self.lock().bells.remove(&id);
    }

    /// The workload whose proxy sends this `authorization: Bearer …`.
    ///
    /// # Errors
    /// Status `UNAUTHENTICATED`, which doesn't say what was wrong.
    pub(crate) fn authenticate(&self, metadata: &MetadataMap) -> Result<Registration, Status> {
        let token = metadata.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let known = token.and_then(|token| self.with(|plane| plane.by_token(token).cloned()));
        known.ok_or_else(|| Status::unauthenticated("expected the token of a running workload"))
    }

    /// Tells when workloads or addresses change from now on.
    pub(crate) fn registrations(&self) -> watch::Receiver<()> {
        self.0.registrations.subscribe()
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| match *now {
            Phase::Ending => false,
            _ => {
                *now = phase;
                true
            }
        });
    }

    /// Waits until everything ends.
    pub(crate) async fn ending(&self) {
        // The sender lives in `self`: it can't be gone.
        let _ = self.phase().wait_for(|phase| *phase == Phase::Ending).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a pure change is a bug; the others go on with what is there.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the Unix epoch; 0 before it.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
