//! What a connection carries, told from its first bytes.
//!
//! Told, not judged: a first line `METHOD target HTTP/1.x` is HTTP/1 even where a strict reader
//! will refuse what follows, and what is not one passes as TCP. Looking never waits for more
//! bytes than the answer needs: the first byte that fits nothing settles it.

use crate::token::is_token_byte;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// They may still become HTTP/1, HTTP/2 or TLS.
    NeedMore,
    /// A request line of HTTP/1.
    Http1,
    /// The whole preface of HTTP/2 with prior knowledge (RFC 9113, 3.4).
    Http2Preface,
    /// The start of a TLS ClientHello; [`crate::tls_hello::server_name`] reads on.
    Tls,
    /// Anything else.
    Other,
}

/// Tells what a connection that begins with `prefix` carries.
pub fn detect(prefix: &[u8]) -> Detected {
    if prefix.starts_with(HTTP2_PREFACE) {
        return Detected::Http2Preface;
    }
    match prefix.first() {
        None => Detected::NeedMore,
        Some(&TLS_HANDSHAKE) => detect_tls(prefix),
        Some(_) if HTTP2_PREFACE.starts_with(prefix) => Detected::NeedMore,
        Some(_) => detect_http1(prefix),
    }
}

/// Handshake record, version 3.0 to 3.4, a length that can be, and a ClientHello in it
/// (RFC 8446, 5.1 and 4).
fn detect_tls(prefix: &[u8]) -> Detected {
    let fits = |at: usize, is_good: fn(u8) -> bool| prefix.get(at).is_none_or(|&byte| is_good(byte));
    if !fits(1, |major| major == 3)
        || !fits(2, |minor| minor <= 4)
        || !fits(3, |length| length <= 0x40)
        || !fits(5, |kind| kind == TLS_CLIENT_HELLO)
    {
        return Detected::Other;
    }
    if prefix.len() < 6 { Detected::NeedMore } else { Detected::Tls }
}

fn detect_http1(prefix: &[u8]) -> Detected {
    let method = run(prefix, MAX_METHOD_BYTES + 1, is_token_byte);
    let target = match prefix.get(method) {
        _ if method == 0 || method > MAX_METHOD_BYTES => return Detected::Other,
        None => return Detected::NeedMore,
        Some(b' ') => &prefix[method + 1..],
        Some(_) => return Detected::Other,
    };
    let length = run(target, MAX_TARGET_BYTES + 1, |byte| byte > b' ' && byte != 0x7f);
    let version = match target.get(length) {
        _ if length > MAX_TARGET_BYTES => return Detected::Other,
        None => return Detected::NeedMore,
        Some(b' ') if length > 0 => &target[length + 1..],
        Some(_) => return Detected::Other,
    };
    let expected = b"HTTP/1.";
    let known = version.len().min(expected.len());
    if version[..known] != expected[..known] {
        return Detected::Other;
    }
    match version[known..] {
        [] => Detected::NeedMore,
        [b'0'..=b'9'] => Detected::NeedMore,
        [b'0'..=b'9', b'\r' | b'\n', ..] => Detected::Http1,
        _ => Detected::Other,
    }
}

/// How many of the first bytes, at most `bound`, are `good`.
fn run(bytes: &[u8], bound: usize, good: fn(u8) -> bool) -> usize {
    bytes.iter().take(bound).take_while(|&&byte| good(byte)).count()
}

/// What a client of HTTP/2 sends first (RFC 9113, 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method that is taken for one; registered ones have at most 17 letters.
pub const MAX_METHOD_BYTES: usize = 32;
/// The longest target that is waited for. A longer one passes as TCP.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

const TLS_HANDSHAKE: u8 = 22;
const TLS_CLIENT_HELLO: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// What every shorter prefix, then the whole, is detected as.
    fn check(whole: &[u8], expected: Detected) {
        let settled = (0..=whole.len()).map(|end| detect(&whole[..end])).find(|found| *found != Detected::NeedMore);
        assert_eq!(settled, Some(expected), "{:?}", String::from_utf8_lossy(whole));
        assert_eq!(detect(whole), expected, "{:?}", String::from_utf8_lossy(whole));
    }

    #[test]
    fn request_lines_are_http1() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "CONNECT a:443 HTTP/1.0\r\n",
            "GET http://a/ä HTTP/1.1\r\nHost: a\r\n",
            "PRI * HTTP/1.1\r\n",
            "PRIX / HTTP/1.1\r\n",
            "GET / HTTP/1.9\r\n",
            "GET / HTTP/1.1\n",
        ] {
            check(line.as_bytes(), Detected::Http1);
        }
    }

    #[test]
    fn what_is_no_request_line_passes() {
        for line in [
            "\r\nGET / HTTP/1.1\r\n",
            "GET /\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET\t/ HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / http/1.1\r\n",
            "GET / HTTP/1.12\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
            "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "set key 0 0 5\r\nhello\r\n",
            "EHLO me\r\n",
            "\0\0\0\x08\x04\u{d2}\x16\x2f",
            "OPTIONS rtsp://a RTSP/1.0\r\n",
        ] {
            check(line.as_bytes(), Detected::Other);
        }
    }

    #[test]
    fn the_first_byte_that_fits_nothing_settles() {
        assert_eq!(detect(b"PING\r"), Detected::Other);
        assert_eq!(detect(b"GET / X"), Detected::Other);
        assert_eq!(detect(b"PRI * HTTP/2.0\r\nX"), Detected::Other);
        assert_eq!(detect(b"\x16\x02"), Detected::Other);
    }

    #[test]
    fn bounds_are_kept() {
        check(&[b'A'; MAX_METHOD_BYTES + 1], Detected::Other);
        let line = |target: usize| [b"GET /".as_slice(), &vec![b'a'; target - 1], b" HTTP/1.1\r\n"].concat();
        check(&line(MAX_TARGET_BYTES), Detected::Http1);
        assert_eq!(detect(&line(MAX_TARGET_BYTES + 1)), Detected::Other);
    }

    #[test]
    fn prefaces_and_hellos_are_told() {
        check(HTTP2_PREFACE, Detected::Http2Preface);
        check(b"\x16\x03\x01\x02\x00\x01\x00", Detected::Tls);
        check(b"\x16\x03\x03\x40\x00\x01", Detected::Tls);
        check(b"\x16\x03\x01\x02\x00\x02", Detected::Other);
        check(b"\x16\x03\x01\x41", Detected::Other);
        check(b"\x15\x03\x01\x00\x02\x01", Detected::Other);
    }
}
