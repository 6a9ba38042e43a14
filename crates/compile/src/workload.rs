//! A running workload, and its inbound record.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weft_mesh::record::{Inbound, PortProtocol};
use weft_mesh::{SpiffeId, WorkloadId};

use crate::set::PolicySet;

/// A workload as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which replica it is.
    pub id: WorkloadId,
    /// The identity that its proxy proves.
    pub identity: SpiffeId,
    /// The service that it belongs to.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels, which policies select.
    pub labels: BTreeMap<String, String>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Where its proxy listens for others; `None` until it does.
    pub mesh_address: Option<SocketAddr>,
    /// Its declared ports.
    pub ports: Vec<PortProtocol>,
    /// Whether it takes calls.
    pub ready: bool,
}

/// The inbound record of a workload.
pub fn inbound(policies: &PolicySet, workload: &Workload) -> Inbound {
    let (peer_authentication, selected) = policies.for_workload(&workload.namespace, &workload.labels);
    let mut ports = workload.ports.clone();
    ports.sort_by_key(|port| port.port);
    ports.dedup_by_key(|port| port.port);
    Inbound {
        workload: workload.id.clone(),
        identity: workload.identity.clone(),
        service: workload.service.clone(),
        addresses: workload.addresses.clone(),
        ports,
        peer_authentication,
        policies: selected,
    }
}
