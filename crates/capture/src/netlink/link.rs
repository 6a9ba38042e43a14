//! Loopback, addresses and routes, rtnetlink(7). No I/O.
//!
//! Every address is made local (AnyIP), so that all traffic stays on `lo`, where the rules see it;
//! the route's source makes the workload's address the one that its programs have.

use std::net::IpAddr;

use super::message::{Request, attribute};

/// `lo` up.
pub(crate) fn loopback_up() -> Request {
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    // struct ifinfomsg: family, padding, type, index, flags, mask of changed flags.
    let body = [&[libc::AF_UNSPEC as u8, 0, 0, 0][..], &LOOPBACK.to_ne_bytes(), &up, &up].concat();
    Request { kind: libc::RTM_NEWLINK, flags: libc::NLM_F_ACK as u16, body, what: "loopback up".into() }
}

/// An address of the workload's own on `lo`.
pub(crate) fn address(ip: IpAddr) -> Request {
    let octets = octets(ip);
    // struct ifaddrmsg: family, prefix length, flags, scope, index. Nobody else is on this link
    // whose address it could duplicate.
    let flags = if ip.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
    let mut body = vec![family(ip), 8 * octets.len() as u8, flags, libc::RT_SCOPE_UNIVERSE];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &octets));
    body.extend(attribute(libc::IFA_ADDRESS, &octets));
    Request { kind: libc::RTM_NEWADDR, flags: NEW, body, what: format!("address {ip}") }
}

/// All addresses of a family local, with `source` as the programs' own.
pub(crate) fn local_default(source: IpAddr) -> Request {
    let scope = if source.is_ipv6() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_HOST };
    // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags.
    let mut body =
        vec![family(source), 0, 0, 0, libc::RT_TABLE_LOCAL, libc::RTPROT_STATIC, scope, libc::RTN_LOCAL, 0, 0, 0, 0];
    body.extend(attribute(libc::RTA_OIF, &LOOPBACK.to_ne_bytes()));
    body.extend(attribute(libc::RTA_PREFSRC, &octets(source)));
    Request { kind: libc::RTM_NEWROUTE, flags: NEW, body, what: format!("local default route from {source}") }
}

fn family(ip: IpAddr) -> u8 {
    // The casts are exact: 2 and 10.
    if ip.is_ipv6() { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 }
}

/// An address in network order.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The index of `lo`: 1 in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;
const NEW: u16 = (libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_single_one() {
        let v4 = address("240.240.0.7".parse().unwrap());
        assert_eq!(v4.body[..4], [2, 32, 0, 0]);
        assert_eq!(v4.body[8..16], [8, 0, 2, 0, 240, 240, 0, 7]);
        let v6 = address("fd77::7".parse().unwrap());
        assert_eq!(v6.body[..4], [10, 128, 2, 0]);
        assert_eq!(v6.body.len(), 8 + 20 + 20);
    }

    #[test]
    fn the_route_makes_everything_local() {
        let route = local_default("240.240.0.7".parse().unwrap());
        assert_eq!(route.body[..8], [2, 0, 0, 0, 255, 4, 254, 2]);
        assert_eq!(route.body[20..], [8, 0, 7, 0, 240, 240, 0, 7]);
        assert_eq!(local_default("fd77::7".parse().unwrap()).body[..8], [10, 0, 0, 0, 255, 4, 0, 2]);
    }

    #[test]
    fn loopback_goes_up() {
        assert_eq!(loopback_up().body, [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    }
}
