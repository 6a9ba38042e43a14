//! Lists of ports and subnets as annotations have them: `80,90-95` and `10.0.0.0/8,fd00::/8`. Pure.

use std::fmt;
use std::net::IpAddr;

use super::Subnet;

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// What is no list of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected ports such as 80,90-95, found `{0}`")]
pub struct NoPorts(pub String);

/// Reads a list of ports. An empty one has none.
///
/// # Errors
/// [`NoPorts`] with the part that is none.
pub fn ports(text: &str) -> Result<Vec<PortRange>, NoPorts> {
    parts(text).map(|part| port_range(part).ok_or_else(|| NoPorts(part.to_owned()))).collect()
}

/// Reads a list of subnets; an address alone is a subnet of one. The error is the part that is none.
pub(super) fn subnets(text: &str) -> Result<Vec<Subnet>, String> {
    parts(text).map(|part| subnet(part).ok_or_else(|| part.to_owned())).collect()
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last).then_some(PortRange { first, last })
}

fn subnet(text: &str) -> Option<Subnet> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse().ok()?),
        None => {
            let address: IpAddr = text.parse().ok()?;
            (address, width(address))
        }
    };
    (bits <= width(address)).then_some(Subnet { address, bits })
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl PortRange {
    /// One port.
    pub(crate) const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether a port is among them.
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Subnet {
    /// The address, and a mask of as many bytes.
    pub(super) fn octets_and_mask(self) -> (Vec<u8>, Vec<u8>) {
        let octets = crate::netlink::link::octets(self.address);
        let mask: Vec<u8> = (0..octets.len())
            .map(|at| {
                let bits = usize::from(self.bits).saturating_sub(8 * at).min(8);
                // The cast is exact: at most 0xff00 shifted by eight.
                (0xff00u16 >> bits) as u8
            })
            .collect();
        (octets.iter().zip(&mask).map(|(octet, mask)| octet & mask).collect(), mask)
    }

    /// Its first address.
    pub(super) fn address(self) -> IpAddr {
        self.address
    }

    /// Whether an address lies within.
    pub(super) fn contains(self, ip: IpAddr) -> bool {
        let (own, mask) = self.octets_and_mask();
        let other = crate::netlink::link::octets(ip);
        own.len() == other.len() && own.iter().zip(&mask).zip(&other).all(|((own, mask), other)| *own == other & mask)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read() {
        let read = ports(" 80, 90-95,443,").unwrap();
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), ["80", "90-95", "443"]);
        assert!(read[1].contains(95) && !read[1].contains(96));
        assert_eq!(ports("").unwrap(), []);
        for wrong in ["0", "95-90", "x", "70000", "1-2-3", "-1"] {
            assert_eq!(ports(wrong).unwrap_err(), NoPorts(wrong.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn subnets_have_masks() {
        let read = subnets("10.1.2.3/12,fd00::/8,192.0.2.1,0.0.0.0/0").unwrap();
        assert_eq!(read[0].octets_and_mask(), (vec![10, 0, 0, 0], vec![255, 240, 0, 0]));
        assert_eq!(read[1].octets_and_mask().1, [&[255][..], &[0; 15]].concat());
        assert_eq!(read[2].octets_and_mask().1, [255; 4]);
        assert_eq!(read[3].octets_and_mask().1, [0; 4]);
        assert!(read[0].contains("10.15.255.255".parse().unwrap()));
        assert!(!read[0].contains("10.16.0.0".parse().unwrap()));
        assert!(!read[3].contains("::1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0/8", "a"] {
            assert_eq!(subnets(wrong).unwrap_err(), wrong);
        }
    }
}
