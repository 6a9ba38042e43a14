//! The inside of the network namespace: loopback, addresses, routes, rules and listeners.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::sys::socket::{SockProtocol, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use weft_wire::bootstrap::Redirection;

use crate::error::{Failure, Step};
use crate::namespace::errno_of;
use crate::netlink::Refusal;
use crate::netlink::link::{address, local_default, loopback_up};
use crate::netlink::rules::{
    Addresses, DATAGRAM_PORT, DNS_PORT, Datagrams, OUTBOUND_PORT, Steering, loopback_of, ruleset,
};
use crate::netlink::socket::Netlink;

/// What the proxy gets from inside.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// TCP, one a family, IPv4 first.
    pub(crate) outbound: Vec<OwnedFd>,
    /// UDP, one a family, IPv4 first.
    pub(crate) dns: Vec<OwnedFd>,
}

/// What the proxy gets of one family for datagrams that are no DNS queries.
#[derive(Debug)]
pub struct DatagramSockets {
    /// A UDP socket on port 15054, non-blocking: each datagram comes with its original destination. A program can also
    /// send to port 15054 itself: such a datagram has no other destination, and is to be refused.
    pub captured: OwnedFd,
    /// A raw socket that sends whole IP packets inside, non-blocking, and receives nothing. Answers come from any
    /// address and port by it, whatever ports the program has bound, and so do errors.
    pub answers: OwnedFd,
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

/// Steers traffic as was asked for, or else as the kernel can. `datagrams` are as they can be had with TPROXY.
pub(crate) fn steer(
    wanted: Option<Redirection>,
    datagrams: Datagrams,
    addresses: Addresses<'_>,
) -> Result<Steering, Failure> {
    let tproxy = Steering::Tproxy(datagrams);
    let first = match wanted {
        Some(Redirection::Tproxy) => return apply(tproxy, addresses).map(|()| tproxy),
        Some(Redirection::Redirect) => return apply(Steering::Redirect, addresses).map(|()| Steering::Redirect),
        None => match apply(tproxy, addresses) {
            Ok(()) => return Ok(tproxy),
            Err(first) => first,
        },
    };
    match apply(Steering::Redirect, addresses) {
        Ok(()) => Ok(Steering::Redirect),
        Err(second) => {
            let detail = format!("TPROXY at {}; REDIRECT at {}", first.detail, second.detail);
            Err(Failure { detail, ..second })
        }
    }
}

/// Steers traffic one way.
pub(crate) fn apply(steering: Steering, addresses: Addresses<'_>) -> Result<(), Failure> {
    let failed = |refusal: Refusal| Failure::new(Step::Rules, refusal.errno, refusal.detail);
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter);
    let netlink = netlink.map_err(|errno| Failure::new(Step::Rules, errno, "nfnetlink"))?;
    netlink.exchange(&ruleset(steering, addresses)).map_err(failed)
}

/// The listeners of the families that `own` has.
pub(crate) fn listen(own: &[IpAddr]) -> Result<Listeners, Failure> {
    let mut listeners = Listeners { outbound: Vec::new(), dns: Vec::new() };
    for ip in own {
        let loopback = loopback_of(*ip);
        let failed =
            |what| move |error| Failure::new(Step::Listeners, errno_of(&error), format!("{what} on {loopback}"));
        listeners.outbound.push(outbound(loopback).map_err(failed("TCP"))?);
        listeners.dns.push(captured(loopback, DNS_PORT).map_err(failed("UDP"))?);
    }
    Ok(listeners)
}

/// Sockets for datagrams of the families that `own` has, IPv4 first.
pub(crate) fn datagrams(own: &[IpAddr]) -> Result<Vec<DatagramSockets>, Failure> {
    let pair = |ip: &IpAddr| {
        let failed = |what: &'static str| move |error| Failure::new(Step::Listeners, errno_of(&error), what);
        let captured = captured(loopback_of(*ip), DATAGRAM_PORT).map_err(failed("UDP"))?;
        Ok(DatagramSockets { captured, answers: raw(*ip).map_err(failed("a raw socket needs CAP_NET_RAW"))? })
    };
    own.iter().map(pair).collect()
}

fn outbound(loopback: IpAddr) -> std::io::Result<OwnedFd> {
    let socket = transparent(loopback, Type::STREAM, Protocol::TCP)?;
    // Accepted ones inherit it. TLS has no urgent bytes: read in their place they aren't lost.
    socket.set_out_of_band_inline(true)?;
    socket.bind(&SocketAddr::new(loopback, OUTBOUND_PORT).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells of each datagram where it was meant to go.
fn captured(loopback: IpAddr, port: u16) -> std::io::Result<OwnedFd> {
    let socket = transparent(loopback, Type::DGRAM, Protocol::UDP)?;
    match loopback {
        IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?,
        IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true)?,
    }
    socket.bind(&SocketAddr::new(loopback, port).into())?;
    Ok(socket.into())
}

/// Sends packets with their IP header; the protocol "raw" receives none (raw(7)).
fn raw(like: IpAddr) -> std::io::Result<OwnedFd> {
    let domain = if like.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    Ok(Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(libc::IPPROTO_RAW)))?.into())
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
