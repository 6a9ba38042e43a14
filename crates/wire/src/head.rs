//! The head of `weft/1`, which stands before the bytes of each exchange on a mesh connection.
//!
//! ```text
//! caller -> callee   length u16 | kind u8 | flags u8 | destination | source | [trace 25 bytes] | later fields
//! callee -> caller   status u8, and unless it is 0: length u16, reason      (kind TCP only)
//! address            4 or 6 u8 | 4 or 16 bytes | port u16                   (all numbers big-endian)
//! ```
//!
//! The length counts what follows it. A reader skips what it doesn't know at the end, so that
//! later versions can add fields. HTTP kinds have no answer of their own: HTTP tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The ALPN protocol name of the mesh's own wire.
pub const ALPN: &[u8] = b"weft/1";
/// The most bytes of a head, its length included.
pub const MAX_HEAD_BYTES: usize = 512;
/// The most bytes of a refusal's reason.
pub const MAX_REASON_BYTES: usize = 256;

const FLAG_TRACE: u8 = 1;

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes both ways until each side ends; the connection is used once.
    Tcp,
    /// One HTTP/1.1 exchange; afterwards the connection can carry another head.
    Http1,
    /// An HTTP/2 connection with prior knowledge; the connection is used once.
    Http2,
    /// A lane: [frames](crate::frame) of streams, of which each begins with a head of its own. The
    /// addresses of this one say nothing.
    Lane,
}

/// A trace's context (W3C Trace Context): trace id, parent id, flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub parent_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

/// What the caller says before an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What follows.
    pub kind: Kind,
    /// The workload's address and port.
    pub destination: SocketAddr,
    /// The calling program's own address.
    pub source: SocketAddr,
    /// The trace that this exchange belongs to.
    pub trace: Option<Trace>,
}

/// What the callee says before the bytes of a TCP exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The program accepted.
    Connected,
    /// It won't be: why, and a text for logs. The caller's program learns neither.
    Refused(Refusal, String),
}

/// Why a callee refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Peer authentication or an authorization policy.
    Policy = 1,
    /// The program refused, or didn't accept in time.
    Connect = 2,
    /// The destination isn't this workload.
    Destination = 3,
    /// A bound of the proxy's is reached.
    Limit = 4,
    /// The proxy ends.
    Draining = 5,
}

/// Why bytes are no head or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The length is above [`MAX_HEAD_BYTES`].
    #[error("expected a head of at most {MAX_HEAD_BYTES} bytes, found a length of {0}")]
    TooLong(usize),
    /// A kind that isn't known.
    #[error("expected a kind of 1 to 4, found {0}")]
    Kind(u8),
    /// An answer that isn't known.
    #[error("expected an answer of 0 to 5, found {0}")]
    Answer(u8),
    /// The fields end before the length says so.
    #[error("expected address and port, found the end of the head")]
    Short,
}

impl Head {
    /// Appends the head's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let kind = match self.kind {
            Kind::Tcp => 1,
            Kind::Http1 => 2,
            Kind::Http2 => 3,
            Kind::Lane => 4,
        };
        out.extend([0, 0, kind, if self.trace.is_some() { FLAG_TRACE } else { 0 }]);
        encode_address(self.destination, out);
        encode_address(self.source, out);
        if let Some(trace) = self.trace {
            out.extend(trace.trace_id);
            out.extend(trace.parent_id);
            out.push(trace.flags);
        }
        let length = (out.len() - start - 2) as u16; // at most 2 + 19 + 19 + 25
        out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Reads a head from the start of `bytes`: the head and its length in bytes, or `None` when
    /// more bytes are needed.
    ///
    /// # Errors
    /// [`HeadError`] when no later bytes can make it a head.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length + 2 > MAX_HEAD_BYTES {
            return Err(HeadError::TooLong(length));
        }
        let Some(mut fields) = rest.get(..length) else { return Ok(None) };
        let [kind, flags] = *take::<2>(&mut fields)?;
        let kind = match kind {
            1 => Kind::Tcp,
            2 => Kind::Http1,
            3 => Kind::Http2,
            4 => Kind::Lane,
            other => return Err(HeadError::Kind(other)),
        };
        let destination = decode_address(&mut fields)?;
        let source = decode_address(&mut fields)?;
        let trace = match flags & FLAG_TRACE {
            0 => None,
            _ => Some(Trace {
                trace_id: *take(&mut fields)?,
                parent_id: *take(&mut fields)?,
                flags: take::<1>(&mut fields)?[0],
            }),
        };
        Ok(Some((Self { kind, destination, source, trace }, length + 2)))
    }
}

impl Answer {
    /// Appends the answer's bytes to `out`; a reason is cut at [`MAX_REASON_BYTES`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connected => out.push(0),
            Self::Refused(refusal, reason) => {
                let reason = &reason.as_bytes()[..reason.len().min(MAX_REASON_BYTES)];
                out.push(*refusal as u8);
                out.extend((reason.len() as u16).to_be_bytes());
                out.extend(reason);
            }
        }
    }

    /// Reads an answer from the start of `bytes`, like [`Head::decode`].
    ///
    /// # Errors
    /// [`HeadError`] when no later bytes can make it an answer.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let Some((&status, rest)) = bytes.split_first() else { return Ok(None) };
        let refusal = match status {
            0 => return Ok(Some((Self::Connected, 1))),
            1 => Refusal::Policy,
            2 => Refusal::Connect,
            3 => Refusal::Destination,
            4 => Refusal::Limit,
            5 => Refusal::Draining,
            other => return Err(HeadError::Answer(other)),
        };
        let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_REASON_BYTES {
            return Err(HeadError::TooLong(length));
        }
        let Some(reason) = rest.get(..length) else { return Ok(None) };
        Ok(Some((Self::Refused(refusal, String::from_utf8_lossy(reason).into_owned()), length + 3)))
    }
}

fn encode_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend(ip.octets());
        }
    }
    out.extend(address.port().to_be_bytes());
}

fn decode_address(fields: &mut &[u8]) -> Result<SocketAddr, HeadError> {
    let ip = match take::<1>(fields)?[0] {
        4 => IpAddr::V4(Ipv4Addr::from(*take::<4>(fields)?)),
        // An IPv4 address has one form, whichever the caller chose: it is compared.
        6 => IpAddr::V6(Ipv6Addr::from(*take::<16>(fields)?)).to_canonical(),
        _ => return Err(HeadError::Short),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(*take::<2>(fields)?)))
}

fn take<'a, const N: usize>(fields: &mut &'a [u8]) -> Result<&'a [u8; N], HeadError> {
    let (first, rest) = fields.split_first_chunk::<N>().ok_or(HeadError::Short)?;
    *fields = rest;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(trace: Option<Trace>) -> Head {
        Head {
            kind: Kind::Http1,
            destination: "240.240.1.2:8080".parse().unwrap(),
            source: "[fd00::1]:40000".parse().unwrap(),
            trace,
        }
    }

    #[test]
    fn heads_survive_the_way_and_need_all_their_bytes() {
        let trace = Trace { trace_id: [1; 16], parent_id: [2; 8], flags: 1 };
        for head in [head(None), head(Some(trace))] {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            for end in 0..bytes.len() {
                assert_eq!(Head::decode(&bytes[..end]), Ok(None), "{end}");
            }
            let length = bytes.len();
            bytes.extend(b"GET /");
            assert_eq!(Head::decode(&bytes), Ok(Some((head, length))));
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_maps() {
        let mut bytes = vec![0, 28, 1, 0, 4, 240, 240, 1, 2, 0, 80, 6];
        bytes.extend("::ffff:127.1.2.3".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0, 9]);
        let (head, length) = Head::decode(&bytes).unwrap().unwrap();
        assert_eq!((head.source.to_string().as_str(), length), ("127.1.2.3:9", bytes.len()));
    }

    #[test]
    fn later_fields_are_skipped() {
        let mut bytes = Vec::new();
        head(None).encode(&mut bytes);
        let length = bytes.len() + 3;
        bytes[..2].copy_from_slice(&((length - 2) as u16).to_be_bytes());
        bytes.extend(b"new");
        assert_eq!(Head::decode(&bytes), Ok(Some((head(None), length))));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert_eq!(Head::decode(&[0xff, 0xff]), Err(HeadError::TooLong(0xffff)));
        assert_eq!(Head::decode(&[1, 254]), Ok(None));
        assert_eq!(Head::decode(&[1, 255]), Err(HeadError::TooLong(511)));
        assert_eq!(Head::decode(&[0, 2, 9, 0]), Err(HeadError::Kind(9)));
        assert_eq!(Head::decode(&[0, 2, 1, 0]), Err(HeadError::Short));
        assert_eq!(Head::decode(&[0, 3, 1, 0, 5]), Err(HeadError::Short));
    }

    #[test]
    fn answers_survive_the_way() {
        for answer in [Answer::Connected, Answer::Refused(Refusal::Policy, "no rule".to_owned())] {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes);
            let length = bytes.len();
            assert_eq!(Answer::decode(&bytes), Ok(Some((answer, length))));
        }
        assert_eq!(Answer::decode(&[9]), Err(HeadError::Answer(9)));
    }

    #[test]
    fn a_long_reason_is_cut_and_a_longer_one_refused() {
        let mut bytes = Vec::new();
        Answer::Refused(Refusal::Policy, "x".repeat(300)).encode(&mut bytes);
        let cut = Answer::Refused(Refusal::Policy, "x".repeat(256));
        assert_eq!(Answer::decode(&bytes), Ok(Some((cut, 259))));
        assert_eq!(Answer::decode(&[1, 1, 1]), Err(HeadError::TooLong(257)));
    }
}
