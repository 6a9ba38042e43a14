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

const V4: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x6566, 0x7400, 0, 0, 0, 0, 0);

#[cfg(test)]
mod tests {
    use super::*;

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
