//! What a caller must know of a service: its addresses, ports and endpoints.

use std::net::{IpAddr, SocketAddr};

use crate::name::{SpiffeId, WorkloadId};

/// A service, or one workload by its own addresses, as callers see it. The record can be asked for by
/// its name and by each of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The record's name. A service's full name, such as `payments.default.svc.cluster.local`; a
    /// workload's id, such as `default/payments-x7k2p`.
    pub host: String,
    /// The service's name, such as `payments`; labels of metrics.
    pub service: String,
    /// The service's namespace.
    pub namespace: String,
    /// A service's stable virtual addresses, those that DNS answers with; a workload's own.
    pub addresses: Vec<IpAddr>,
    /// The declared ports, in ascending order.
    pub ports: Vec<ServicePort>,
    /// What becomes of a call to a port that isn't declared.
    pub undeclared: Undeclared,
    /// Who serves it now. Empty: calls are refused, and the error says so.
    pub endpoints: Vec<Endpoint>,
}

impl Destination {
    /// How a call to `port` is to be treated, or `None` where it must be refused.
    pub fn port(&self, port: u16) -> Option<ServicePort> {
        match self.ports.binary_search_by_key(&port, |p| p.port) {
            Ok(at) => Some(self.ports[at]),
            Err(_) if self.undeclared == Undeclared::Forward => {
                Some(ServicePort { port, target: port, protocol: AppProtocol::Detect })
            }
            Err(_) => None,
        }
    }
}

/// What becomes of calls to undeclared ports of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeclared {
    /// They go to the same port of an endpoint (one machine; headless services).
    Forward,
    /// They are refused (a ClusterIP).
    Refuse,
}

/// One port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that callers name.
    pub port: u16,
    /// The workload's port.
    pub target: u16,
    /// What is spoken there.
    pub protocol: AppProtocol,
}

/// What is spoken on a port, by declaration (`appProtocol`, or the port's name as Istio reads it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AppProtocol {
    /// Nobody said: the first bytes tell.
    #[default]
    Detect,
    /// HTTP/1.1, or HTTP/2 with prior knowledge: the preface tells which.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC: HTTP/2, and denials are told as gRPC statuses.
    Grpc,
    /// Opaque bytes, the program's own TLS among them.
    Tcp,
}

/// One who serves a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The workload that it is; `None` when it is none that the mesh knows, such as an API server.
    pub workload: Option<WorkloadId>,
    /// Its own address.
    pub address: IpAddr,
    /// How it is reached, and who must answer there.
    pub tunnel: Tunnel,
    /// Its share beside the others; never 0.
    pub weight: u32,
    /// The ports at which it differs from what the service says, ascending.
    pub ports: Vec<EndpointPort>,
}

impl Endpoint {
    /// Its own port for a port of the service; `None` where it doesn't serve that.
    pub fn target(&self, port: ServicePort) -> Option<u16> {
        match self.ports.binary_search_by_key(&port.port, |own| own.port) {
            Ok(at) => self.ports[at].target,
            Err(_) => Some(port.target),
        }
    }
}

/// A port of a service at which an endpoint differs: a target port that is named can have another
/// number in each workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointPort {
    /// The port that callers name.
    pub port: u16,
    /// The endpoint's own; `None`: it doesn't serve this port.
    pub target: Option<u16>,
}

/// How an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// The mesh protocol; ALPN offers `weft/1` first, then `h2` (HBONE).
    Mesh(Peer),
    /// HBONE only, as ztunnel speaks it.
    Hbone(Peer),
    /// Plainly: there is no proxy, and nobody to verify.
    Plain,
}

impl Tunnel {
    /// Who is at its other end; `None` when nobody can prove it.
    pub fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Mesh(peer) | Self::Hbone(peer) => Some(peer),
            Self::Plain => None,
        }
    }
}

/// A proxy of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Where it listens for the mesh.
    pub address: SocketAddr,
    /// Who must answer there: the caller's proxy verifies it.
    pub identity: SpiffeId,
}
