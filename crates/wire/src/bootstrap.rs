//! What a proxy is told when it starts: one JSON document on a file descriptor that it inherits.
//! The launcher writes it, the proxy reads it; neither keeps it on disk, for it holds a token.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that a proxy beside one workload needs to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// `<namespace>/<name of the replica>`: the name of its inbound record.
    pub workload: String,
    /// The SPIFFE ID that it asks a certificate for.
    pub identity: String,
    /// The workload's own addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Where it listens on the host: port 15008 for the mesh, 15020 for metrics.
    pub host_address: IpAddr,
    /// The control plane.
    pub control: ControlAddress,
    /// Sockets made inside the workload's network namespace, inherited by number.
    pub sockets: InheritedSockets,
    /// How programs' names are resolved.
    pub names: Names,
    /// Ports that callers outside the mesh may reach, plainly.
    pub publish: Vec<Published>,
    /// Ports of the program's loopback that are the host's.
    pub forward: Vec<u16>,
}

/// Where the control plane answers, and with what the proxy proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlAddress {
    /// The Unix socket.
    pub socket: PathBuf,
    /// The bearer token that the launcher was given for this workload.
    pub token: String,
}

/// File descriptors that the proxy inherits; all are non-blocking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InheritedSockets {
    /// Listeners on port 15001 whose accepted sockets tell the original destination.
    pub outbound: Vec<i32>,
    /// How they tell it.
    pub redirection: Redirection,
    /// UDP sockets on port 15053 that receive each query with its original destination.
    pub dns: Vec<i32>,
    /// For all other datagrams, a pair a family. Empty: the kernel refuses them.
    pub datagrams: Vec<DatagramSockets>,
    /// The socket maker's end (`SOCK_SEQPACKET`); see [`crate::maker`].
    pub maker: i32,
    /// A pipe to which the proxy writes one byte when it can serve.
    pub ready: i32,
}

/// The sockets of one family for datagrams that are no DNS queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatagramSockets {
    /// A UDP socket on port 15054 that receives each datagram with its original destination.
    pub captured: i32,
    /// A raw socket that sends whole IP packets inside.
    pub answers: i32,
}

/// How an accepted socket tells where its program wanted to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirection {
    /// TPROXY: its local address is the original destination.
    Tproxy,
    /// REDIRECT: `SO_ORIGINAL_DST` tells it.
    Redirect,
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The workload's namespace: where a short name is looked for.
    pub namespace: String,
    /// The suffix of the mesh's names, such as `svc.cluster.local`.
    pub suffix: String,
    /// The host's own name servers, for all other names.
    pub upstream: Vec<SocketAddr>,
}

/// One published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Where callers from outside connect, on the host.
    pub listen: SocketAddr,
    /// The workload's port.
    pub port: u16,
}
