//! The inside of the network namespace: loopback, addresses, routes, rules and listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::sys::socket::{SockProtocol, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use weft_wire::bootstrap::Redirection;

use crate::error::{Failure, Step};
use crate::namespace::errno_of;
use crate::netlink::Refusal;
use crate::netlink::link::{address, local_default, loopback_up};
use crate::netlink::rules::{Addresses, DNS_PORT, OUTBOUND_PORT, ruleset};
use crate::netlink::socket::Netlink;

/// What the proxy gets from inside.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// TCP, one a family, IPv4 first.
    pub(crate) outbound: Vec<OwnedFd>,
    /// UDP, one a family, IPv4 first.
    pub(crate) dns: Vec<OwnedFd>,
}

/// Loopback up, the workload's addresses, and everything else local.
pub(crate) fn connect(own: &[IpAddr]) -> Result<(), Failure> {
    let failed = |refusal: Refusal| Failure::new(Step::Network, refusal.errno, refusal.detail);
    let netlink = Netlink::open(SockProtocol::NetlinkRoute).map_err(|errno| Failure::new(Step::Network, errno, ""))?;
    netlink.exchange(&[loopback_up()]).map_err(failed)?;
    for ip in own {
        netlink.exchange(&[address(*ip)]).map_err(failed)?;
        netlink.exchange(&[local_default(*ip)]).map_err(failed)?;
    }
    Ok(())
}

/// Steers traffic as was asked for, or else as the kernel can.
pub(crate) fn steer(wanted: Option<Redirection>, addresses: Addresses<'_>) -> Result<Redirection, Failure> {
    if let Some(redirection) = wanted {
        return apply(redirection, addresses).map(|()| redirection);
    }
    let Err(first) = apply(Redirection::Tproxy, addresses) else { return Ok(Redirection::Tproxy) };
    match apply(Redirection::Redirect, addresses) {
        Ok(()) => Ok(Redirection::Redirect),
        Err(second) => {
            let detail = format!("TPROXY at {}; REDIRECT at {}", first.detail, second.detail);
            Err(Failure { detail, ..second })
        }
    }
}

/// Steers traffic one way.
pub(crate) fn apply(redirection: Redirection, addresses: Addresses<'_>) -> Result<(), Failure> {
    let failed = |refusal: Refusal| Failure::new(Step::Rules, refusal.errno, refusal.detail);
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter);
    let netlink = netlink.map_err(|errno| Failure::new(Step::Rules, errno, "nfnetlink"))?;
    netlink.exchange(&ruleset(redirection, addresses)).map_err(failed)
}

/// The listeners of the families that `own` has.
pub(crate) fn listen(own: &[IpAddr]) -> Result<Listeners, Failure> {
    let mut listeners = Listeners { outbound: Vec::new(), dns: Vec::new() };
    for ip in own {
        let loopback: IpAddr = if ip.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let failed =
            |what| move |error| Failure::new(Step::Listeners, errno_of(&error), format!("{what} on {loopback}"));
        listeners.outbound.push(outbound(loopback).map_err(failed("TCP"))?);
        listeners.dns.push(dns(loopback).map_err(failed("UDP"))?);
    }
    Ok(listeners)
}

fn outbound(loopback: IpAddr) -> std::io::Result<OwnedFd> {
    let socket = transparent(loopback, Type::STREAM, Protocol::TCP)?;
    socket.bind(&SocketAddr::new(loopback, OUTBOUND_PORT).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn dns(loopback: IpAddr) -> std::io::Result<OwnedFd> {
    let socket = transparent(loopback, Type::DGRAM, Protocol::UDP)?;
    match loopback {
        IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?,
        IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true)?,
    }
    socket.bind(&SocketAddr::new(loopback, DNS_PORT).into())?;
    Ok(socket.into())
}

/// A socket that may stand for any address.
fn transparent(loopback: IpAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let domain = if loopback.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
    if loopback.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_ip_transparent_v6(true)?;
    } else {
        socket.set_ip_transparent_v4(true)?;
    }
    Ok(socket)
}

/// Connections that wait to be accepted. The kernel's own bound for a new namespace
/// (net.core.somaxconn) is the same.
const BACKLOG: i32 = 4096;
