//! The workloads that run on this machine: who each is, what it was assigned, and whether it is
//! ready. Pure state: tokens, suffixes and times are passed in.
//!
//! ```text
//!             launch                  ready
//! (nothing) ----------> Starting ----------------> Ready      the stream's end removes it
//!                           ^                        ^
//!                           |        resume          |
//!                           +------ (kept) ----------+        after a restart: no stream yet,
//!                                                             removed when the grace ends
//! ```

mod spec;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use crate::addresses::AddressPair;
pub(crate) use spec::{Spec, SpecError};

/// One running workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) id: WorkloadId,
    pub(crate) spec: Spec,
    pub(crate) identity: SpiffeId,
    pub(crate) addresses: AddressPair,
    /// Where its proxy listens on the host.
    pub(crate) host: Ipv4Addr,
    pub(crate) token: Token,
    pub(crate) readiness: Readiness,
    /// The stream that keeps it; `None` after a restart, until its launcher comes back.
    pub(crate) launch: Option<LaunchId>,
    /// Seconds since the Unix epoch.
    pub(crate) started_at: i64,
}

/// Whether a workload can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It can't be called yet, or can't just now.
    Starting,
    /// It is an endpoint.
    Ready,
}

/// A launcher's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaunchId(pub(crate) u64);

/// What a workload's proxy proves itself with. It is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Token(Arc<str>);

/// The running workloads, by id and by token.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    workloads: BTreeMap<WorkloadId, Registration>,
    tokens: HashMap<Token, WorkloadId>,
}

impl Registry {
    /// Adds a workload, or replaces the one of the same id.
    pub(crate) fn insert(&mut self, registration: Registration) {
        let (id, token) = (registration.id.clone(), registration.token.clone());
        if let Some(old) = self.workloads.insert(id.clone(), registration) {
            self.tokens.remove(&old.token);
        }
        self.tokens.insert(token, id);
    }

    /// Removes a workload.
    pub(crate) fn remove(&mut self, id: &WorkloadId) -> Option<Registration> {
        let removed = self.workloads.remove(id)?;
        self.tokens.remove(&removed.token);
        Some(removed)
    }

    /// The workload of that id.
    pub(crate) fn workload(&self, id: &WorkloadId) -> Option<&Registration> {
        self.workloads.get(id)
    }

    /// The workload, as far as the stream `launch` is the one that keeps it.
    pub(crate) fn kept_by(&mut self, id: &WorkloadId, launch: LaunchId) -> Option<&mut Registration> {
        self.workloads.get_mut(id).filter(|workload| workload.launch == Some(launch))
    }

    /// Whose token it is.
    pub(crate) fn by_token(&self, token: &str) -> Option<&Registration> {
        // Tokens have 256 random bits: where a lookup differs from them tells nothing.
        self.workloads.get(self.tokens.get(&Token::from(token))?)
    }

    /// All, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.workloads.values()
    }

    /// Those whose launchers haven't come back since the restart.
    pub(crate) fn unconfirmed(&self) -> Vec<WorkloadId> {
        self.iter().filter(|workload| workload.launch.is_none()).map(|workload| workload.id.clone()).collect()
    }
}

impl Registration {
    /// The identity of what a spec describes.
    ///
    /// # Errors
    /// [`SpecError`] when its service account can't stand in a SPIFFE ID.
    pub(crate) fn identity(domain: &TrustDomain, spec: &Spec) -> Result<SpiffeId, SpecError> {
        SpiffeId::new(domain, &spec.namespace, &spec.service_account)
            .map_err(|error| SpecError::ServiceAccount(error.to_string()))
    }
}

impl Token {
    /// The token, to be handed to its launcher or written to the state folder.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(id: &str, token: &str) -> Registration {
        let spec = spec::tests::read("web").unwrap();
        Registration {
            id: id.parse().unwrap(),
            identity: Registration::identity(&TrustDomain::default(), &spec).unwrap(),
            spec,
            addresses: AddressPair::of("240.240.1.1".parse().unwrap()),
            host: "127.1.1.1".parse().unwrap(),
            token: Token::from(token),
            readiness: Readiness::Starting,
            launch: Some(LaunchId(1)),
            started_at: 0,
        }
    }

    #[test]
    fn tokens_lead_to_their_workload_while_it_lives() {
        let mut registry = Registry::default();
        registry.insert(workload("default/web-1", "one"));
        registry.insert(workload("default/web-2", "two"));
        registry.insert(workload("default/web-2", "three"));
        let id = |registry: &Registry, token| registry.by_token(token).map(|found| found.id.to_string());
        assert_eq!(id(&registry, "one").as_deref(), Some("default/web-1"));
        assert_eq!(id(&registry, "two"), None);
        assert_eq!(id(&registry, "three").as_deref(), Some("default/web-2"));
        registry.remove(&"default/web-1".parse().unwrap()).unwrap();
        assert_eq!(id(&registry, "one"), None);
        assert_eq!(registry.iter().count(), 1);
    }

    #[test]
    fn only_the_stream_that_keeps_a_workload_may_change_it() {
        let mut registry = Registry::default();
        registry.insert(workload("default/web-1", "one"));
        let id = "default/web-1".parse().unwrap();
        assert!(registry.kept_by(&id, LaunchId(1)).is_some());
        assert!(registry.kept_by(&id, LaunchId(2)).is_none());
        assert_eq!(registry.unconfirmed(), []);
        registry.insert(Registration { launch: None, ..workload("default/web-1", "one") });
        assert_eq!(registry.unconfirmed(), [id]);
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", workload("default/web-1", "secret")).contains("secret"));
    }
}
