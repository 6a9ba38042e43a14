//! The mesh as its tasks share it: one lock, held for a change and never across a wait, and the
//! bells that tell streams of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

use crate::distribute::SubscriberId;
use crate::mesh::Mesh;

/// A mesh, handed to every task; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
struct State {
    mesh: Mesh,
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
    /// Shares a mesh.
    pub fn new(mesh: Mesh) -> Self {
        let state = Mutex::new(State { mesh, bells: HashMap::new() });
        Self(Arc::new(Inner { state, phase: watch::Sender::new(Phase::Running) }))
    }

    /// Looks at the mesh or changes it, and tells those whom a change concerns. It must not wait.
    pub fn with<R>(&self, work: impl FnOnce(&mut Mesh) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state.mesh);
        for bell in state.mesh.woken().iter().filter_map(|id| state.bells.get(id)) {
            bell.notify_one();
        }
        result
    }

    /// Ends all that serves: streams, then their servers.
    pub fn end(&self) {
        self.enter(Phase::Ending);
    }

    /// Waits until everything ends.
    pub async fn ending(&self) {
        // The sender lives in `self`: it can't be gone.
        let _ = self.phase().wait_for(|phase| *phase == Phase::Ending).await;
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

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a pure change is a bug; the others go on with what is there.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the Unix epoch; 0 before it.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
