//! Where a program's datagrams may go: to the outside of the mesh, and to the host's loopback by the ways that TCP has.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flows::Ends;
use crate::{host, range};

/// Why datagrams don't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// To an address of the mesh, which carries none.
    Mesh,
    /// To nobody in particular: multicast, broadcast.
    Many,
    /// To a neighbour on a link of the host's.
    Link,
    /// To a loopback address; programs reach only the proxy's own ports so.
    Loopback,
    /// From an address that isn't the workload's: it could never be answered.
    Source,
}

/// Where datagrams between these lead; `own` are the workload's addresses, `forwarded` the ports of its loopback that
/// are the host's.
pub(super) fn target(ends: Ends, own: &[IpAddr], forwarded: &BTreeSet<u16>) -> Result<SocketAddr, Refusal> {
    let source = ends.source.ip();
    if !source.is_loopback() && !own.contains(&source) {
        return Err(Refusal::Source);
    }
    if let Some(target) = host::target(ends.destination, forwarded) {
        return Ok(target);
    }
    // Another way to write an IPv4 address must not lead elsewhere than that.
    let ip = ends.destination.ip().to_canonical();
    // The host takes an unspecified address for its own loopback.
    if ip.is_loopback() || ip.is_unspecified() {
        return Err(Refusal::Loopback);
    }
    if range::is_mesh(ip) {
        return Err(Refusal::Mesh);
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Refusal::Many);
    }
    let is_of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if is_of_link { Err(Refusal::Link) } else { Ok(SocketAddr::new(ip, ends.destination.port())) }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mesh => "the mesh carries no UDP; call it over TCP, or reach it outside of the mesh",
            Self::Many => "multicast and broadcast don't leave a workload; send to one address",
            Self::Link => "link-local addresses are out of a workload's reach; use another address of it",
            Self::Loopback => "this is the proxy's; the host's loopback is at host.weft.internal, or use --forward",
            Self::Source => "it is sent from an address that isn't the workload's; bind to none, or to its own",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(source: &str, destination: &str) -> Result<String, Refusal> {
        let own = ["240.240.0.7".parse().unwrap(), "fd77:6566:7400::f0f0:7".parse().unwrap()];
        let ends = Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() };
        target(ends, &own, &BTreeSet::from([5432])).map(|target| target.to_string())
    }

    #[test]
    fn datagrams_go_to_the_outside_and_to_the_host_where_tcp_does() {
        for (destination, expected) in [
            ("192.0.2.1:123", Ok("192.0.2.1:123")),
            ("[2001:db8::1]:443", Ok("[2001:db8::1]:443")),
            ("[::ffff:192.0.2.1]:123", Ok("192.0.2.1:123")),
            ("240.240.0.1:8125", Ok("127.0.0.1:8125")),
            ("127.0.0.1:5432", Ok("127.0.0.1:5432")),
            ("[::1]:5432", Ok("127.0.0.1:5432")),
            ("127.0.0.1:15054", Err(Refusal::Loopback)),
            ("[::1]:80", Err(Refusal::Loopback)),
            ("[::ffff:127.0.0.1]:80", Err(Refusal::Loopback)),
            ("127.9.9.9:5353", Err(Refusal::Loopback)),
            ("0.0.0.0:80", Err(Refusal::Loopback)),
            ("[::]:80", Err(Refusal::Loopback)),
            ("240.240.3.4:80", Err(Refusal::Mesh)),
            ("[::ffff:240.240.3.4]:80", Err(Refusal::Mesh)),
            ("[fd77:6566:7400::f0f0:304]:80", Err(Refusal::Mesh)),
            ("224.0.0.251:5353", Err(Refusal::Many)),
            ("255.255.255.255:67", Err(Refusal::Many)),
            ("[ff02::fb]:5353", Err(Refusal::Many)),
            ("169.254.169.123:123", Err(Refusal::Link)),
            ("[fe80::1]:80", Err(Refusal::Link)),
        ] {
            let source = if destination.starts_with('[') { "[fd77:6566:7400::f0f0:7]:5" } else { "240.240.0.7:5" };
            assert_eq!(judge(source, destination), expected.map(str::to_owned), "{destination}");
        }
    }

    #[test]
    fn only_the_workloads_own_addresses_are_answered() {
        for source in ["240.240.0.7:5", "127.0.0.1:5"] {
            assert!(judge(source, "192.0.2.1:123").is_ok(), "{source}");
        }
        for source in ["192.0.2.9:5", "240.240.0.8:5", "[2001:db8::9]:5"] {
            assert_eq!(judge(source, "192.0.2.1:123"), Err(Refusal::Source), "{source}");
        }
    }
}
