//! Capture in a Kubernetes pod: the rules that its network namespace gets before any of its programs
//! runs. Whoever calls this is inside the namespace already, with the capability NET_ADMIN; nothing
//! else is needed, neither other programs nor settings of the host.

mod arguments;
mod ports;
mod rules;
mod verify;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

pub use arguments::{ArgumentsError, parse};
pub use ports::{NoPorts, PortRange, ports};
pub use verify::{Found, Verified};

use crate::netlink::Refusal;
use crate::netlink::socket::Netlink;

/// What is redirected where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The user whose own connections pass: the proxy's.
    pub proxy_uid: u32,
    /// Where the proxy takes the programs' connections.
    pub outbound_port: u16,
    /// Where it takes plain connections of callers.
    pub inbound_port: u16,
    /// The pod's ports that callers reach without the proxy.
    pub skip_inbound: Vec<PortRange>,
    /// Where callers are who reach the pod without the proxy.
    pub skip_callers: Vec<Subnet>,
    /// The only ports of the pod that callers reach through the proxy; empty: all.
    pub only_inbound: Vec<PortRange>,
    /// Ports that programs call without the proxy.
    pub skip_outbound: Vec<PortRange>,
    /// Destinations that programs call without the proxy.
    pub skip_subnets: Vec<Subnet>,
    /// The only destinations that programs call through the proxy; empty: all.
    pub only_subnets: Vec<Subnet>,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: std::net::IpAddr,
    bits: u8,
}

/// Why a pod isn't captured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// It may not change rules.
    #[error("needs the capability NET_ADMIN to redirect connections; allow it to the container weft-init")]
    NotAllowed,
    /// The kernel has no nf_tables with address translation.
    #[error("the node's kernel has no nf_tables NAT for both families (nft_chain_nat, nft_redir): {0}")]
    NoNat(String),
    /// The kernel refused the rules for another reason.
    #[error("the kernel refused the packet rules: {0}: {1}")]
    Refused(String, Errno),
    /// A connection went elsewhere, though the rules stand.
    #[error("the packet rules stand, but a connection to {0} did not arrive at the proxy's port: {1}")]
    NotRedirected(std::net::SocketAddr, String),
}

/// Puts the rules in place of those that stood before, all at once, and tries them.
///
/// # Errors
/// [`PodError`]; the pod must not start then.
pub fn capture(wanted: &Capture) -> Result<Verified, PodError> {
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter).map_err(|errno| match errno {
        Errno::EPROTONOSUPPORT => PodError::NoNat(errno.desc().to_owned()),
        errno => PodError::Refused("netfilter's socket".to_owned(), errno),
    })?;
    netlink.exchange(&rules::ruleset(wanted)).map_err(refused)?;
    verify::verify(wanted)
}

fn refused(refusal: Refusal) -> PodError {
    match refusal.errno {
        Errno::EPERM | Errno::EACCES => PodError::NotAllowed,
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT => PodError::NoNat(refusal.detail),
        errno => PodError::Refused(refusal.detail, errno),
    }
}
