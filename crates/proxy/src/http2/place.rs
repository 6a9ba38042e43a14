//! The places that streams share connections to.

use std::net::{IpAddr, SocketAddr};

use weft_mesh::record::Tunnel;

/// Where a program's shared connection belongs: its caller's address, and its port.
pub(crate) type ProgramPort = (IpAddr, u16);

/// One place that streams share connections to. Connections made as an older identity are not
/// used for new streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(super) tunnel: Tunnel,
    pub(super) to: SocketAddr,
    pub(super) caller: IpAddr,
    pub(super) generation: u64,
}
