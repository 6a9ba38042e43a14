//! IP packets to the program: answers that come from whom it asked, and errors (RFC 768, 791, 792, 4443, 8200). Pure.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// Where a packet comes from and where it goes, in one family.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

impl Way {
    /// `None` when the two are of different families.
    pub(super) fn new(from: SocketAddr, to: SocketAddr) -> Option<Self> {
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => Some(Self::V4(from, to)),
            (SocketAddr::V6(from), SocketAddr::V6(to)) => Some(Self::V6(from, to)),
            _ => None,
        }
    }

    fn back(self) -> Self {
        match self {
            Self::V4(from, to) => Self::V4(to, from),
            Self::V6(from, to) => Self::V6(to, from),
        }
    }

    fn header_bytes(self) -> usize {
        match self {
            Self::V4(..) => IPV4_BYTES,
            Self::V6(..) => IPV6_BYTES,
        }
    }

    /// Writes the IP header of a packet with `length` bytes behind it. `None`: it would be too long.
    fn write_header(self, header: &mut [u8], protocol: u8, length: usize) -> Option<()> {
        header.fill(0);
        match self {
            Self::V4(from, to) => {
                let total = u16::try_from(IPV4_BYTES + length).ok()?;
                // Version 4 and five words of header; the kernel fills in the id and the checksum (raw(7)).
                header[0] = 0x45;
                header[2..4].copy_from_slice(&total.to_be_bytes());
                header[8..10].copy_from_slice(&[HOPS, protocol]);
                header[12..16].copy_from_slice(&from.ip().octets());
                header[16..20].copy_from_slice(&to.ip().octets());
            }
            Self::V6(from, to) => {
                header[0] = 0x60;
                header[4..6].copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
                header[6..8].copy_from_slice(&[protocol, HOPS]);
                header[8..24].copy_from_slice(&from.ip().octets());
                header[24..40].copy_from_slice(&to.ip().octets());
            }
        }
        Some(())
    }

    fn write_udp_header(self, header: &mut [u8], length: usize) -> Option<()> {
        let (from, to) = match self {
            Self::V4(from, to) => (from.port(), to.port()),
            Self::V6(from, to) => (from.port(), to.port()),
        };
        header[..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[4..6].copy_from_slice(&u16::try_from(UDP_BYTES + length).ok()?.to_be_bytes());
        header[6..8].fill(0);
        Some(())
    }

    /// The sum of the pseudo-header.
    fn sum(self, protocol: u8, length: usize) -> u64 {
        let addresses = match self {
            Self::V4(from, to) => sum(&from.ip().octets()) + sum(&to.ip().octets()),
            Self::V6(from, to) => sum(&from.ip().octets()) + sum(&to.ip().octets()),
        };
        addresses + u64::from(protocol) + length as u64
    }
}

/// Makes a packet of a datagram whose `length` bytes stand in `buffer` behind [`HEADROOM`]. `None`: it is too long.
pub(super) fn datagram(buffer: &mut [u8], length: usize, way: Way) -> Option<&[u8]> {
    let packet = &mut buffer[HEADROOM - UDP_BYTES - way.header_bytes()..HEADROOM + length];
    let (header, datagram) = packet.split_at_mut(way.header_bytes());
    way.write_header(header, UDP, datagram.len())?;
    way.write_udp_header(datagram, length)?;
    let checksum = match checksum(way.sum(UDP, datagram.len()) + sum(datagram)) {
        // Zero says that there is none.
        0 => 0xffff,
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The error "port unreachable" that answers a datagram of `length` bytes which went this way: it seems to come from
/// where that was to go. Of all errors it's the one that a connected socket is told in both families.
pub(super) fn unreachable(way: Way, length: usize) -> Option<Vec<u8>> {
    let (ip, back) = (way.header_bytes(), way.back());
    let mut packet = vec![0; ip + ICMP_BYTES + ip + UDP_BYTES];
    let (header, error) = packet.split_at_mut(ip);
    let (protocol, kind, pseudo) = match way {
        Way::V4(..) => (ICMP, [3, 3], 0),
        Way::V6(..) => (ICMPV6, [1, 4], back.sum(ICMPV6, error.len())),
    };
    back.write_header(header, protocol, error.len())?;
    error[..2].copy_from_slice(&kind);
    way.write_header(&mut error[ICMP_BYTES..ICMP_BYTES + ip], UDP, UDP_BYTES + length)?;
    way.write_udp_header(&mut error[ICMP_BYTES + ip..], length)?;
    let checksum = checksum(pseudo + sum(error));
    error[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The Internet checksum (RFC 1071) of what adds up to `sum`.
fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    // Exact: it was folded.
    !(sum as u16)
}

/// Words of 32 bits add up to the same as those of 16, once folded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).map(|word| u64::from(u32::from_be_bytes(*word))).sum()
}

/// Room before a datagram's bytes for the longest headers.
pub(super) const HEADROOM: usize = IPV6_BYTES + UDP_BYTES;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
const ICMP_BYTES: usize = 8;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Packets go no further than the namespace's loopback.
const HOPS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn way(from: &str, to: &str) -> Way {
        Way::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn packet(way: Way, payload: &[u8]) -> Vec<u8> {
        let mut buffer = [&[0xee; HEADROOM], payload].concat();
        datagram(&mut buffer, payload.len(), way).unwrap().to_vec()
    }

    /// A receiver adds all words, the checksum among them, and finds ones only.
    fn adds_up(way: Way, protocol: u8, message: &[u8]) -> bool {
        checksum(way.sum(protocol, message.len()) + sum(message)) == 0
    }

    #[test]
    fn an_answer_has_the_headers_of_its_family() {
        let v4 = way("192.0.2.1:53", "240.240.0.7:4660");
        let expected = "4500001f00000000401100 00c0000201f0f00007 00351234000b".replace(' ', "");
        let found = packet(v4, b"abc");
        let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(hex.starts_with(&expected), "{hex}");
        assert!(hex.ends_with("616263") && adds_up(v4, UDP, &found[20..]), "{hex}");

        let v6 = way("[2001:db8::1]:53", "[fd77::7]:4660");
        let found = packet(v6, b"abcd");
        assert_eq!(found[..8], [0x60, 0, 0, 0, 0, 12, 17, 64]);
        assert_eq!(found[40..46], [0, 53, 0x12, 0x34, 0, 12]);
        assert!(found.ends_with(b"abcd") && adds_up(v6, UDP, &found[40..]));
    }

    #[test]
    fn datagrams_are_as_long_as_ip_lets_them_be() {
        let mut buffer = vec![0; HEADROOM + 70_000];
        for (way, longest) in [(way("1.1.1.1:1", "2.2.2.2:2"), 65_507), (way("[::1]:1", "[::2]:2"), 65_527)] {
            assert!(datagram(&mut buffer, longest, way).is_some());
            assert!(datagram(&mut buffer, longest + 1, way).is_none());
            assert!(datagram(&mut buffer, 0, way).is_some());
        }
    }

    #[test]
    fn an_error_quotes_what_it_answers() {
        let v4 = way("240.240.0.7:4660", "192.0.2.1:9");
        let error = unreachable(v4, 3).unwrap();
        assert_eq!(error[12..20], [192, 0, 2, 1, 240, 240, 0, 7]);
        assert_eq!(error[20..22], [3, 3]);
        assert_eq!(error[28 + 12..28 + 20], [240, 240, 0, 7, 192, 0, 2, 1]);
        assert_eq!(error[48..], [0x12, 0x34, 0, 9, 0, 11, 0, 0]);
        assert_eq!(checksum(sum(&error[20..])), 0);

        let v6 = way("[fd77::7]:4660", "[2001:db8::1]:9");
        let error = unreachable(v6, 3).unwrap();
        assert_eq!(error[40..42], [1, 4]);
        assert!(adds_up(v6.back(), ICMPV6, &error[40..]));
    }

    #[test]
    fn families_are_not_mixed() {
        assert!(Way::new("1.1.1.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()).is_none());
    }
}
