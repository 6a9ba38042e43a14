//! What a workload's own proxy must know to judge those who call it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::destination::AppProtocol;
use super::policy::{Origin, Policy};
use crate::name::{SpiffeId, WorkloadId};

/// A workload's inbound record: who it is, and who may call it. Named after [`Inbound::workload`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Which workload this is.
    pub workload: WorkloadId,
    /// The identity that its proxy proves.
    pub identity: SpiffeId,
    /// The service's name, for labels of metrics (on one machine: the label `app`).
    pub service: String,
    /// The workload's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The declared ports, ascending.
    pub ports: Vec<PortProtocol>,
    /// Whether callers must prove who they are.
    pub peer_authentication: PeerAuthentication,
    /// Every policy that selects this workload, in no order that matters.
    pub policies: Vec<Policy>,
}

impl Inbound {
    /// What is spoken on one of the workload's ports.
    pub fn protocol(&self, port: u16) -> AppProtocol {
        match self.ports.binary_search_by_key(&port, |p| p.port) {
            Ok(at) => self.ports[at].protocol,
            Err(_) => AppProtocol::Detect,
        }
    }
}

/// One declared port of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortProtocol {
    /// The workload's port.
    pub port: u16,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What is spoken there.
    pub protocol: AppProtocol,
}

/// The effective peer authentication of one workload, already resolved over all scopes
/// (istio-semantics A1 to A7), with the place where each setting stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerAuthentication {
    /// The mode of every port without one of its own.
    pub default: Scoped,
    /// Modes of single workload ports.
    pub ports: BTreeMap<u16, Scoped>,
}

impl PeerAuthentication {
    /// The mode of one workload port and where it comes from.
    pub fn at(&self, port: u16) -> &Scoped {
        self.ports.get(&port).unwrap_or(&self.default)
    }
}

/// A mode, and who set it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scoped {
    /// The mode.
    pub mode: MtlsMode,
    /// The resource that set it; `None` for the built-in default.
    pub origin: Option<Origin>,
}

/// Whether callers must prove who they are (Istio, `PeerAuthentication.MutualTLS.Mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// Either.
    #[default]
    Permissive,
    /// Mesh mTLS only.
    Strict,
}
