//! A running workload, and the records that are its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weft_mesh::record::{
    AppProtocol, Destination, Endpoint, Inbound, Peer, PortProtocol, ServicePort, Tunnel, Undeclared,
};
use weft_mesh::{SpiffeId, WorkloadId};

use crate::default_inbound::DefaultInbound;
use crate::service::Service;
use crate::set::PolicySet;

/// A workload as the registry knows it: a program of one machine, or a pod. Its namespace is its id's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which replica it is.
    pub id: WorkloadId,
    /// The identity that its proxy proves; of one without a proxy, what it would be.
    pub identity: SpiffeId,
    /// How metrics name it: the service that it belongs to.
    pub service: String,
    /// Its labels, which policies select.
    pub labels: BTreeMap<String, String>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it has a proxy, and where that listens.
    pub proxy: Proxy,
    /// Its declared ports.
    pub ports: Vec<PortProtocol>,
    /// Linkerd's default inbound policy for it, where one is set.
    pub default_inbound: Option<DefaultInbound>,
    /// What made it, where that is known.
    pub owner: Option<Owner>,
    /// The node on which it runs, where there are nodes.
    pub node: Option<String>,
}

/// A workload's proxy, as others call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// There is none: the workload is called plainly.
    Absent,
    /// It doesn't listen yet, and the workload can't be called: never plainly in its stead.
    Starting,
    /// It listens at this address, whichever of the workload's is called.
    At(SocketAddr),
    /// It listens at this port of each of the workload's own addresses.
    Port(u16),
}

/// The resource that makes replicas of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name, in the workload's namespace.
    pub name: String,
}

/// The inbound record of a workload. `services` are those of which it is an endpoint: where it doesn't
/// say itself what is spoken on a port, they do.
pub fn inbound(policies: &PolicySet, workload: &Workload, services: &[&Service]) -> Inbound {
    let (peer_authentication, selected) = policies.for_workload(workload.id.namespace(), &workload.labels);
    let default =
        workload.default_inbound.and_then(|default| policies.default_inbound(default, workload.id.namespace()));
    Inbound {
        workload: workload.id.clone(),
        identity: workload.identity.clone(),
        service: workload.service.clone(),
        addresses: workload.addresses.clone(),
        ports: ports(workload, services),
        peer_authentication,
        policies: default.into_iter().chain(selected).collect(),
    }
}

/// The record of a workload that is called by its own addresses, whatever port is called. `services`
/// are those of which it is an endpoint. One whose proxy is yet to listen has no endpoint.
pub fn workload_destination(workload: &Workload, services: &[&Service]) -> Destination {
    let endpoint = |address: &IpAddr| {
        let tunnel = workload.tunnel(*address)?;
        Some(Endpoint { workload: Some(workload.id.clone()), address: *address, tunnel, weight: 1, ports: Vec::new() })
    };
    let port = |port: PortProtocol| ServicePort { port: port.port, target: port.port, protocol: port.protocol };
    Destination {
        host: workload.id.to_string(),
        service: workload.service.clone(),
        namespace: workload.id.namespace().to_owned(),
        addresses: workload.addresses.clone(),
        ports: ports(workload, services).into_iter().map(port).collect(),
        undeclared: Undeclared::Forward,
        endpoints: workload.addresses.iter().filter_map(endpoint).collect(),
    }
}

impl Workload {
    /// How it is reached at one of its addresses; `None` when it can't be called yet.
    pub(crate) fn tunnel(&self, address: IpAddr) -> Option<Tunnel> {
        let peer = |address| Tunnel::Mesh(Peer { address, identity: self.identity.clone() });
        match self.proxy {
            Proxy::Absent => Some(Tunnel::Plain),
            Proxy::Starting => None,
            Proxy::At(address) => Some(peer(address)),
            Proxy::Port(port) => Some(peer(SocketAddr::new(address, port))),
        }
    }
}

/// A workload's ports, ascending, each once. Where services disagree about a protocol, the first bytes
/// tell.
fn ports(workload: &Workload, services: &[&Service]) -> Vec<PortProtocol> {
    let mut ports: BTreeMap<u16, PortProtocol> = BTreeMap::new();
    for (number, protocol) in services.iter().flat_map(|service| service.spoken_at(&workload.id)) {
        let port = ports.entry(number).or_insert(PortProtocol { port: number, name: None, protocol });
        if port.protocol != protocol {
            port.protocol = AppProtocol::Detect;
        }
    }
    for declared in workload.ports.iter().rev() {
        let told = ports.get(&declared.port).map(|port| port.protocol).unwrap_or_default();
        let protocol = if declared.protocol == AppProtocol::Detect { told } else { declared.protocol };
        ports.insert(declared.port, PortProtocol { protocol, ..declared.clone() });
    }
    ports.into_values().collect()
}
