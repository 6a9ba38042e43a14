//! Server names out of ClientHellos.

use weft_http::detect::{Detected, detect};
use weft_http::tls_hello::{MAX_RECORD_BYTES, ServerName, server_name};

use crate::support::input::ends;

/// `tls_hello::server_name`, of the data, and of a hello that names the data.
///
/// # Panics
/// When later bytes change an answer, when it waits for more than a record, or when a name is read
/// that isn't a host's.
pub fn http_tls_hello(data: &[u8]) {
    let mut settled = ServerName::NeedMore;
    for end in ends(data) {
        let now = server_name(&data[..end]);
        assert!(settled == ServerName::NeedMore || settled == now, "{settled:?}, then {now:?}");
        settled = now;
    }
    assert!(data.len() < MAX_RECORD_BYTES || settled != ServerName::NeedMore);
    if let ServerName::Name(name) = settled {
        assert!(is_host(name.as_bytes()));
        // A minor version beyond TLS 1.3's is told from TLS by `detect` alone.
        assert!(data[2] > 4 || detect(data) == Detected::Tls, "a hello that isn't seen as TLS");
    }
    if data.len() < 1024 {
        let hello = hello(data);
        let expected = str::from_utf8(data).ok().filter(|_| is_host(data));
        assert_eq!(server_name(&hello), expected.map_or(ServerName::Unreadable, ServerName::Name));
        assert_eq!(server_name(&hello[..hello.len() - 1]), ServerName::NeedMore);
    }
}

fn is_host(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    (1..=255).contains(&name.len()) && name.iter().all(allowed)
}

/// A ClientHello with one extension, the server name (RFC 8446, 4.1.2; RFC 6066, 3).
fn hello(name: &[u8]) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let names = vector(&[&[0], vector(name).as_slice()].concat());
    let extensions = vector(&[&[0, 0], vector(&names).as_slice()].concat());
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(extensions);
    let handshake = [&[1, 0], (body.len() as u16).to_be_bytes().as_slice(), &body].concat();
    [&[22, 3, 1], vector(&handshake).as_slice()].concat()
}
