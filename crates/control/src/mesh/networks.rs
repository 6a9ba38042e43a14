//! In which blocks every address of the mesh lies, those included that nobody has yet. It is told to
//! proxies ahead, for the time when there is nobody to ask: what lies elsewhere they may call plainly.
//!
//! Clusters give out private addresses, or public ones. Which blocks they take them from nobody says
//! reliably; but where all addresses of a family are private, the next one will be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_mesh::record::Cidr;

/// How many addresses the mesh has, and how many of them aren't private, by family.
#[derive(Debug, Default)]
pub(super) struct Networks {
    known: usize,
    public: [usize; 2],
}

impl Networks {
    /// Addresses have come.
    pub(super) fn add(&mut self, addresses: &[IpAddr]) {
        self.known += addresses.len();
        for ip in public(addresses) {
            self.public[family(ip)] += 1;
        }
    }

    /// Addresses that had come have gone.
    pub(super) fn remove(&mut self, addresses: &[IpAddr]) {
        self.known -= addresses.len();
        for ip in public(addresses) {
            self.public[family(ip)] -= 1;
        }
    }

    /// The blocks; none while nothing is known.
    pub(super) fn blocks(&self) -> Vec<Cidr> {
        if self.known == 0 {
            return Vec::new();
        }
        let [v4, v6] = self.public.map(|count| count > 0);
        let private = PRIVATE.into_iter().filter(|(ip, _)| if ip.is_ipv4() { !v4 } else { !v6 });
        let whole = [(v4, Ipv4Addr::UNSPECIFIED.into()), (v6, Ipv6Addr::UNSPECIFIED.into())];
        let whole = whole.into_iter().filter(|(all, _)| *all).map(|(_, ip)| (ip, 0));
        private.chain(whole).filter_map(|(ip, bits)| Cidr::new(ip, bits)).collect()
    }
}

fn family(ip: IpAddr) -> usize {
    usize::from(ip.to_canonical().is_ipv6())
}

fn public(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let is_private = |ip: IpAddr| {
        let mut blocks = PRIVATE.into_iter().filter_map(|(block, bits)| Cidr::new(block, bits));
        blocks.any(|block| block.contains(ip))
    };
    addresses.iter().copied().filter(move |ip| !is_private(*ip))
}

/// RFC 1918, RFC 6598, RFC 2544, class E and RFC 4193: all that clusters use and the Internet doesn't.
const PRIVATE: [(IpAddr, u8); 7] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),
    (IpAddr::V4(Ipv4Addr::new(240, 0, 0, 0)), 4),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
];

#[cfg(test)]
mod tests {
    use weft_mesh::record::Trust;

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn outside(networks: &Networks) -> Vec<&'static str> {
        let trust = Trust { networks: networks.blocks(), ..Trust::default() };
        let asked = ["8.8.8.8", "169.254.169.254", "10.9.9.9", "100.65.0.1", "2600::1", "fd00::1"];
        asked.into_iter().filter(|ip| trust.is_outside(ip.parse().unwrap())).collect()
    }

    #[test]
    fn private_addresses_leave_the_internet_outside() {
        let mut networks = Networks::default();
        assert_eq!(outside(&networks), [""; 0], "nothing is known");
        networks.add(&ips(&["10.244.0.7", "fd00:10::7"]));
        assert_eq!(outside(&networks), ["8.8.8.8", "169.254.169.254", "2600::1"]);
    }

    #[test]
    fn one_public_address_makes_its_family_the_meshs() {
        let mut networks = Networks::default();
        networks.add(&ips(&["10.244.0.7"]));
        networks.add(&ips(&["2600:1f16::7"]));
        assert_eq!(outside(&networks), ["8.8.8.8", "169.254.169.254"]);
        networks.add(&ips(&["34.0.0.1", "::ffff:34.0.0.2"]));
        assert_eq!(outside(&networks), [""; 0]);
        networks.remove(&ips(&["34.0.0.1", "::ffff:34.0.0.2"]));
        networks.remove(&ips(&["2600:1f16::7"]));
        assert_eq!(outside(&networks), ["8.8.8.8", "169.254.169.254", "2600::1"]);
    }
}
