//! Whether a pod's rules do what they say: a connection to somewhere outside is made, and must
//! arrive here instead. Nothing leaves the pod where they do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

use super::{Capture, PodError};

/// How each family was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// IPv4.
    pub v4: Found,
    /// IPv6.
    pub v6: Found,
}

/// How the rules of a family were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A connection was redirected.
    Redirected,
    /// The pod reaches nobody by this family, or everything there is skipped.
    NoRoute,
    /// The proxy runs already; its port wasn't taken from it.
    ProxyRuns,
}

pub(super) fn verify(wanted: &Capture) -> Result<Verified, PodError> {
    let try_family = |loopback: IpAddr, documentation: IpAddr| match target(wanted, documentation) {
        Some(target) => redirected(SocketAddr::new(loopback, wanted.outbound_port), target),
        None => Ok(Found::NoRoute),
    };
    let v4 = try_family(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 1).into())?;
    let v6 = try_family(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())?;
    Ok(Verified { v4, v6 })
}

/// An address and port that the rules redirect: documentation's (RFC 5737, RFC 3849), unless they
/// redirect some subnets only. `None`: there is none that the pod has a route to.
fn target(wanted: &Capture, documentation: IpAddr) -> Option<SocketAddr> {
    let of_family = |subnet: &&super::Subnet| subnet.address().is_ipv4() == documentation.is_ipv4();
    let ip = match wanted.only_subnets.as_slice() {
        [] => documentation,
        only => only.iter().find(of_family)?.address(),
    };
    let port = (9..=u16::MAX).find(|port| !wanted.skip_outbound.iter().any(|range| range.contains(*port)))?;
    let target = SocketAddr::new(ip, port);
    (!wanted.skip_subnets.iter().any(|subnet| subnet.contains(ip)) && has_route(target)).then_some(target)
}

/// Asks the kernel alone: connecting a datagram socket sends nothing. What would stay inside the pod
/// meets no rule.
fn has_route(to: SocketAddr) -> bool {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() != to.ip() && !source.ip().is_loopback())
}

fn redirected(at: SocketAddr, target: SocketAddr) -> Result<Found, PodError> {
    let failed = |error: io::Error| PodError::NotRedirected(target, error.to_string());
    let listener = match TcpListener::bind(at) {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(Found::ProxyRuns),
        Err(error) => return Err(failed(error)),
    };
    let _connected = TcpStream::connect_timeout(&target, LIMIT).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let (accepted, _) = listener.accept().map_err(failed)?;
    let meant = meant(&accepted).map_err(|errno| failed(errno.into()))?;
    if meant == target {
        Ok(Found::Redirected)
    } else {
        Err(PodError::NotRedirected(target, format!("it arrived as one to {meant}")))
    }
}

/// The destination that connection tracking remembers.
fn meant(accepted: &TcpStream) -> Result<SocketAddr, nix::errno::Errno> {
    if accepted.local_addr().is_ok_and(|local| local.is_ipv6()) {
        let found = getsockopt(accepted, sockopt::Ip6tOriginalDst)?;
        return Ok(SocketAddr::new(IpAddr::from(found.sin6_addr.s6_addr), u16::from_be(found.sin6_port)));
    }
    let found = getsockopt(accepted, sockopt::OriginalDst)?;
    Ok(SocketAddr::new(Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr)).into(), u16::from_be(found.sin_port)))
}

/// A redirected connection stands at once.
const LIMIT: Duration = Duration::from_secs(2);
