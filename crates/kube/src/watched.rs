//! The cluster as tasks share it: one lock, held for a look or a change and never across a wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::Cluster;

/// The state of the cluster, handed to every task; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cluster: Mutex<Cluster>,
    changed: watch::Sender<()>,
}

impl Watched {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self(Arc::new(Inner { cluster: Mutex::new(cluster), changed: watch::Sender::default() }))
    }

    /// Looks at the cluster.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Cluster) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the cluster, and tells those who wait for a change.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Cluster) -> R) -> R {
        let result = change(&mut self.lock());
        self.0.changed.send_replace(());
        result
    }

    /// Tells of changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        // A panic in a pure change is a bug; the others go on with what is there.
        self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
