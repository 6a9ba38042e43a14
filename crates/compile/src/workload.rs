//! A running workload, as its registry knows it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weft_mesh::record::{Peer, PortProtocol, Tunnel};
use weft_mesh::{SpiffeId, WorkloadId};

use crate::default_inbound::DefaultInbound;

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
