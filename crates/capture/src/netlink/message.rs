//! One netlink message: header, attributes, and the acknowledgement that answers it. No I/O.

use nix::errno::Errno;

/// A request that awaits its encoding; `what` is for error texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) what: String,
}

impl Request {
    /// The message's bytes, padded to four.
    pub(crate) fn encode(&self, sequence: u32) -> Vec<u8> {
        let length = (HEADER + self.body.len()) as u32;
        let mut bytes = Vec::with_capacity(aligned(length as usize));
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(&self.body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }
}

/// One attribute, padded to four bytes.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(aligned(4 + value.len()));
    bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(aligned(bytes.len()), 0);
    bytes
}

/// An attribute that holds attributes.
pub(crate) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | libc::NLA_F_NESTED as u16, &attributes.concat())
}

/// What the kernel said to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) sequence: u32,
    /// Zero is success.
    pub(crate) errno: i32,
    /// Its own words (extended acknowledgement), when it has any.
    pub(crate) text: Option<String>,
}

/// Why a batch of requests was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    /// The request and the kernel's own words.
    pub(crate) detail: String,
}

/// Reads the acknowledgements of one packet; what is none is passed over. Socket option
/// NETLINK_CAP_ACK must be set, so that requests are not quoted whole.
pub(crate) fn answers(packet: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    let mut rest = packet;
    while let (Some(length), Some(kind), Some(flags), Some(sequence)) =
        (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6), u32_at(rest, 8))
    {
        let Some(body) = rest.get(HEADER..length as usize) else { break };
        if i32::from(kind) == libc::NLMSG_ERROR
            && let Some(error) = u32_at(body, 0)
        {
            let attributes = if i32::from(flags) & libc::NLM_F_ACK_TLVS != 0 { body.get(4 + HEADER..) } else { None };
            let text = attributes.and_then(error_text);
            found.push(Answer { sequence, errno: -(error as i32), text });
        }
        rest = rest.get(aligned(length as usize)..).unwrap_or_default();
    }
    found
}

/// The text among the attributes of an extended acknowledgement.
fn error_text(mut attributes: &[u8]) -> Option<String> {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        if kind == NLMSGERR_ATTR_MSG {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(aligned(usize::from(length))..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// linux/netlink.h, `enum nlmsgerr_attrs`.
const NLMSGERR_ATTR_MSG: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn error_packet(sequence: u32, errno: i32, text: &str) -> Vec<u8> {
        let mut body = (-errno).to_ne_bytes().to_vec();
        body.extend([0u8; HEADER]);
        body.extend(attribute(NLMSGERR_ATTR_MSG, format!("{text}\0").as_bytes()));
        let mut packet = Request { kind: 2, flags: libc::NLM_F_ACK_TLVS as u16, body, what: String::new() };
        packet.flags &= !1;
        packet.encode(sequence)
    }

    #[test]
    fn a_request_is_laid_out_as_netlink_says() {
        let request = Request { kind: 16, flags: 4, body: vec![1, 2, 3, 4, 5], what: String::new() };
        let bytes = request.encode(7);
        assert_eq!(bytes.len(), 24);
        assert_eq!(u32_at(&bytes, 0), Some(21));
        assert_eq!((u16_at(&bytes, 4), u16_at(&bytes, 6), u32_at(&bytes, 8)), (Some(16), Some(5), Some(7)));
        assert_eq!(&bytes[16..], [1, 2, 3, 4, 5, 0, 0, 0]);
    }

    #[test]
    fn attributes_are_padded_and_their_length_is_not() {
        let bytes = attribute(3, b"weft\0");
        assert_eq!(bytes.len(), 12);
        assert_eq!((u16_at(&bytes, 0), u16_at(&bytes, 2)), (Some(9), Some(3)));
    }

    #[test]
    fn the_kernels_own_words_are_found() {
        let mut packet = error_packet(1, 0, "");
        packet.extend(error_packet(2, libc::ENOENT, "no such expression"));
        let found = answers(&packet);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].sequence, found[0].errno), (1, 0));
        assert_eq!(found[1], Answer { sequence: 2, errno: libc::ENOENT, text: Some("no such expression".into()) });
    }

    #[test]
    fn damaged_answers_neither_panic_nor_loop() {
        let packet = error_packet(2, libc::EPERM, "no");
        for cut in 0..packet.len() {
            answers(&packet[..cut]);
        }
        for place in 0..packet.len() {
            for value in [0, 1, 3, 255] {
                let mut damaged = packet.clone();
                damaged[place] = value;
                answers(&damaged);
            }
        }
    }
}
