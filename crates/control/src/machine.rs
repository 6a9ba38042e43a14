//! One machine's registrations beside its mesh, as tasks share them, and who its tokens belong to.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tonic::Status;
use weft_identity::Bearer;

use crate::authenticate::{Authenticator, Caller, Claim};
use crate::idle::Idle;
use crate::mesh::Mesh;
use crate::plane::Plane;
use crate::shared::Shared;

/// Handed to every task that launches, keeps or tells of workloads; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Locked before the mesh, by whoever needs both.
    plane: Mutex<Plane>,
    shared: Shared,
    /// Rings when workloads or addresses have changed.
    registrations: watch::Sender<()>,
    /// Replicas of the folder's workloads that don't run just now.
    idle: Mutex<Vec<Idle>>,
}

impl Machine {
    pub(crate) fn new(plane: Plane, shared: Shared) -> Self {
        Self(Arc::new(Inner {
            plane: Mutex::new(plane),
            shared,
            registrations: watch::Sender::default(),
            idle: Mutex::default(),
        }))
    }

    /// Its mesh.
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Looks at the registrations and the mesh or changes both, and tells those whom a change concerns.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Plane, &mut Mesh) -> R) -> R {
        // A panic in a pure change is a bug; the others go on with what is there.
        let mut plane = self.0.plane.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.0.shared.with(|mesh| work(&mut plane, mesh));
        if plane.unsaved() {
            self.0.registrations.send_replace(());
        }
        result
    }

    /// Tells when workloads or addresses change from now on.
    pub(crate) fn registrations(&self) -> watch::Receiver<()> {
        self.0.registrations.subscribe()
    }

    /// The folder's workloads that don't run just now.
    pub(crate) fn idle(&self) -> Vec<Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_idle(&self, idle: Vec<Idle>) {
        *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner) = idle;
    }

    fn by_token(&self, claim: &Claim) -> Result<Caller, Status> {
        let known = claim.token.as_ref().and_then(|token| {
            self.with(|plane, _| {
                let known = plane.by_token(token)?;
                // Replicas come and go: signals of those whom they call name what runs in them.
                let name = || known.spec.name.clone();
                let bearer = Some(Bearer { workload: name(), kind: String::new(), app: name() });
                Some(Caller { workload: known.id.clone(), identity: known.identity.clone(), bearer })
            })
        });
        known.ok_or_else(|| Status::unauthenticated("expected the token of a running workload"))
    }
}

#[tonic::async_trait]
impl Authenticator for Machine {
    async fn certifies(&self, claim: &Claim) -> Result<Caller, Status> {
        self.by_token(claim)
    }

    async fn admits(&self, claim: &Claim) -> Result<Caller, Status> {
        self.by_token(claim)
    }
}
