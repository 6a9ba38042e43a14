//! The server name in a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3).
//!
//! Only what is needed to read it: nothing here knows of keys, versions or what TLS does with them.
//! A name is a claim of the caller's, unproved.

use crate::authority::is_host_name;

/// What a ClientHello says of the server that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// The hello's end hasn't come; call again with these bytes and more, at most
    /// [`MAX_RECORD_BYTES`].
    NeedMore,
    /// It names this host: letters, digits and `-._~`, as sent.
    Name(&'a str),
    /// It names none, or these bytes aren't TLS.
    Absent,
    /// TLS whose hello says nothing certain: broken, ambiguous, or spread over several records. What
    /// the server will make of it is unknown.
    Unreadable,
}

/// Reads the server name from the first bytes of a connection.
pub fn server_name(bytes: &[u8]) -> ServerName<'_> {
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return ServerName::Absent;
    }
    let [_kind, major, _minor, high, low, rest @ ..] = bytes else { return ServerName::NeedMore };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if *major != 3 || length > MAX_RECORD_BYTES - RECORD_HEADER_BYTES {
        return ServerName::Unreadable;
    }
    let Some(record) = rest.get(..length) else { return ServerName::NeedMore };
    match name_in_record(record) {
        Some(Some(name)) => ServerName::Name(name),
        Some(None) => ServerName::Absent,
        None => ServerName::Unreadable,
    }
}

/// The name, if the hello has one; `None` of what isn't one whole and well-formed hello.
fn name_in_record(record: &[u8]) -> Option<Option<&str>> {
    let mut record = Reader(record);
    if record.take(1)? != [CLIENT_HELLO] {
        return None;
    }
    let mut hello = record.vector(3)?;
    hello.take(2 + 32)?; // version, random
    hello.vector(1)?; // session id
    hello.vector(2)?; // cipher suites
    hello.vector(1)?; // compression methods
    // Before TLS 1.3 they may be left out (RFC 5246, 7.4.1.2).
    let mut extensions = if hello.0.is_empty() { Reader(&[]) } else { hello.vector(2)? };
    if !hello.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.take(2)?;
        let body = extensions.vector(2)?;
        // RFC 8446, 4.2: an extension comes once.
        if kind == SERVER_NAME && found.replace(name_in_extension(body)?).is_some() {
            return None;
        }
    }
    Some(found)
}

/// A list of names, of which only one may be a host's (RFC 6066, 3); no other kind exists.
fn name_in_extension(mut body: Reader<'_>) -> Option<&str> {
    let mut list = body.vector(2)?;
    let kind = list.take(1)?;
    let name = list.vector(2)?.0;
    let is_one = kind == [HOST_NAME] && list.0.is_empty() && body.0.is_empty();
    if is_one && is_host_name(name) { str::from_utf8(name).ok() } else { None }
}

/// Bytes still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes behind their length, which has `length_bytes` bytes (RFC 8446, 3.4).
    fn vector(&mut self, length_bytes: usize) -> Option<Self> {
        let length = self.take(length_bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        self.take(length).map(Self)
    }
}

/// The most bytes of a record, its header included (RFC 8446, 5.1).
pub const MAX_RECORD_BYTES: usize = RECORD_HEADER_BYTES + (1 << 14);

const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: [u8; 2] = [0, 0];
const HOST_NAME: u8 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(length_bytes: usize, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&length[4 - length_bytes..], body].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().as_slice(), &vector(2, body)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(0, &vector(2, &[[0].as_slice(), &vector(2, name)].concat()))
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let body = [
            [3, 3].as_slice(),
            &[7; 32],
            &vector(1, &[1; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, extensions),
        ]
        .concat();
        let handshake = [[1].as_slice(), &vector(3, &body)].concat();
        [[22, 3, 1].as_slice(), &vector(2, &handshake)].concat()
    }

    #[test]
    fn the_name_is_found_once_the_record_is_whole() {
        let bytes = hello(&[extension(43, &[2, 3, 4]), sni(b"pay.example"), extension(10, &[0, 2, 0, 29])].concat());
        for end in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..end]), ServerName::NeedMore, "{end}");
        }
        assert_eq!(server_name(&bytes), ServerName::Name("pay.example"));
        assert_eq!(server_name(&[&bytes, b"more".as_slice()].concat()), ServerName::Name("pay.example"));
    }

    #[test]
    fn a_hello_without_a_name_is_told_from_one_that_is_unreadable() {
        let two_names = extension(0, &vector(2, &[0, 0, 1, b'a', 0, 0, 1, b'b']));
        for extensions in [vec![], extension(10, &[0, 2, 0, 29])] {
            assert_eq!(server_name(&hello(&extensions)), ServerName::Absent, "{extensions:?}");
        }
        for extensions in [
            sni(b""),
            sni(b"a b"),
            sni(b"a\0"),
            sni(&[b'a'; 256]),
            sni(b"\xff"),
            [sni(b"a"), sni(b"b")].concat(),
            two_names,
            extension(0, &[]),
            extension(0, &[0, 9, 0, 0, 1, b'a']),
            [sni(b"a"), vec![1]].concat(),
        ] {
            assert_eq!(server_name(&hello(&extensions)), ServerName::Unreadable, "{extensions:?}");
        }
        assert_eq!(server_name(b"G"), ServerName::Absent);
        assert_eq!(server_name(&[22, 3, 1, 0xff, 0xff]), ServerName::Unreadable);
        assert_eq!(server_name(&[22, 2, 1, 0, 1]), ServerName::Unreadable);
        // The name may stand in the second record, which a server puts behind the first.
        let whole = hello(&sni(b"pay.example"));
        let parts = [&[22, 3, 1], vector(2, &whole[5..20]).as_slice(), &[22, 3, 1], &vector(2, &whole[20..])].concat();
        assert_eq!(server_name(&parts), ServerName::Unreadable);
    }

    #[test]
    fn a_hello_may_have_no_extensions() {
        let mut bytes = hello(&[]);
        let length = bytes.len() - 2;
        bytes.truncate(length);
        bytes[4] -= 2;
        bytes[8] -= 2;
        assert_eq!(server_name(&bytes), ServerName::Absent);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..120, byte: u8, cut in 0usize..120) {
            let mut bytes = hello(&sni(b"pay.example"));
            let length = bytes.len();
            bytes[at % length] = byte;
            let _ = server_name(&bytes);
            let _ = server_name(&bytes[..cut.min(length)]);
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = server_name(&bytes);
            let _ = server_name(&[[22, 3, 1].as_slice(), &vector(2, &[[1].as_slice(), &vector(3, &bytes)].concat())].concat());
        }
    }
}
