//! What a caller must know of a service: its addresses, ports and endpoints.

use std::net::{IpAddr, SocketAddr};

use crate::name::{SpiffeId, WorkloadId};

/// A service as its callers see it. Its record's name is [`Destination::host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The full name, such as `payments.default.svc.cluster.local`.
    pub host: String,
    /// The service's name, such as `payments`; labels of metrics.
    pub service: String,
    /// The service's namespace.
    pub namespace: String,
    /// The stable virtual addresses: those that DNS answers with. The record can be asked for by
    /// each of them, and by each endpoint's own address.
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

/// One workload that serves a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which workload it is.
    pub workload: WorkloadId,
    /// The workload's own address.
    pub address: IpAddr,
    /// Who must answer there: the caller's proxy verifies it.
    pub identity: SpiffeId,
    /// How it is reached.
    pub tunnel: Tunnel,
    /// Its share beside the others; never 0.
    pub weight: u32,
}

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// The mesh protocol at this address; ALPN offers `weft/1` first, then `h2` (HBONE).
    Mesh(SocketAddr),
    /// HBONE only, as ztunnel speaks it.
    Hbone(SocketAddr),
    /// Plainly: no proxy there, or its peer authentication is DISABLE.
    Plain,
}
