//! The socket maker's messages: a process inside the workload's network namespace makes sockets
//! and hands them to the proxy outside.
//!
//! One request a packet (`SOCK_SEQPACKET`); the answer is a packet of one byte, [`ANSWER`], that
//! carries the descriptors (SCM_RIGHTS), as many as were asked for, or none when making failed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The one byte that accompanies descriptors.
pub const ANSWER: u8 = b's';
/// The most sockets in one answer: the kernel takes at most 253 descriptors a message.
pub const MAX_BATCH: u8 = 64;

/// What is asked of the socket maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// TCP sockets, unconnected, non-blocking, with IP_FREEBIND (IPV6_FREEBIND) set so that they
    /// can be bound to a caller's address.
    Streams(Family, u8),
    /// One UDP socket bound to an address that isn't the workload's, to answer DNS from.
    DnsReply(SocketAddr),
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why a packet is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a socket maker's request, found {0} bytes that are none")]
pub struct NoRequest(pub usize);

impl Request {
    /// The packet's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Streams(Family::V4, count) => vec![b'4', *count],
            Self::Streams(Family::V6, count) => vec![b'6', *count],
            Self::DnsReply(address) => {
                let mut packet = vec![b'd'];
                match address.ip() {
                    IpAddr::V4(ip) => packet.extend(ip.octets()),
                    IpAddr::V6(ip) => packet.extend(ip.octets()),
                }
                packet.extend(address.port().to_be_bytes());
                packet
            }
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`NoRequest`] when it is none, or asks for no socket or for more than [`MAX_BATCH`].
    pub fn decode(packet: &[u8]) -> Result<Self, NoRequest> {
        match packet {
            [b'4', n @ 1..=MAX_BATCH] => Ok(Self::Streams(Family::V4, *n)),
            [b'6', n @ 1..=MAX_BATCH] => Ok(Self::Streams(Family::V6, *n)),
            [b'd', address @ ..] => decode_address(address).map(Self::DnsReply).ok_or(NoRequest(packet.len())),
            _ => Err(NoRequest(packet.len())),
        }
    }
}

fn decode_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_way() {
        for request in [
            Request::Streams(Family::V4, 16),
            Request::Streams(Family::V6, 64),
            Request::DnsReply("8.8.8.8:53".parse().unwrap()),
            Request::DnsReply("[fd00::1]:53".parse().unwrap()),
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for packet in [&b""[..], b"4", b"4\0", b"4\x41", b"x\x01", b"d", b"d\x01\x02\x03\x04\x05"] {
            assert!(Request::decode(packet).is_err(), "{packet:?}");
        }
    }
}
