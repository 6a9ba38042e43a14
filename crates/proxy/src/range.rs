//! The addresses that only the mesh gives out (DESIGN, "Addresses"): 240.240.0.0/16 and a ULA /48.
//! They never leave the machine plainly, whether somebody has them or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the mesh's own.
pub(crate) fn is_mesh(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[..2] == V4.octets()[..2],
        IpAddr::V6(ip) => ip.segments()[..3] == V6.segments()[..3],
    }
}

/// The same workload's address in the family of `like`: a workload's IPv6 address ends with its
/// IPv4 one. `None` for an address that isn't the mesh's.
pub(crate) fn in_family_of(like: IpAddr, ip: IpAddr) -> Option<IpAddr> {
    match (like, ip.to_canonical()) {
        (IpAddr::V4(_), IpAddr::V4(ip)) => Some(ip.into()),
        (IpAddr::V6(_), IpAddr::V6(ip)) => Some(ip.into()),
        (_, ip) if !is_mesh(ip) => None,
        (_, IpAddr::V4(ip)) => Some(Ipv6Addr::from_bits(V6.to_bits() | u128::from(ip.to_bits())).into()),
        (_, IpAddr::V6(ip)) => Some(Ipv4Addr::from_bits(ip.to_bits() as u32).into()),
    }
}

const V4: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x6566, 0x7400, 0, 0, 0, 0, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workloads_addresses_are_twins() {
        let (v4, v6): (IpAddr, IpAddr) =
            ("240.240.92.117".parse().unwrap(), "fd77:6566:7400::f0f0:5c75".parse().unwrap());
        assert_eq!(in_family_of(v4, v6), Some(v4));
        assert_eq!(in_family_of(v6, v4), Some(v6));
        assert_eq!(in_family_of(v4, v4), Some(v4));
        assert_eq!(in_family_of(v4, "::1".parse().unwrap()), None);
        assert_eq!(in_family_of(v6, "127.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn only_the_meshs_own_addresses_are_in_it() {
        for inside in ["240.240.0.1", "240.240.255.255", "::ffff:240.240.1.1", "fd77:6566:7400::f0f0:35"] {
            assert!(is_mesh(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["240.241.0.1", "127.0.0.1", "8.8.8.8", "fd77:6566:7401::1", "::1"] {
            assert!(!is_mesh(outside.parse().unwrap()), "{outside}");
        }
    }
}
