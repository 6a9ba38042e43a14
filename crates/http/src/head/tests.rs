//! Heads: what is read from good ones, and that no other is.

mod good;
mod properties;
mod refused;

use super::*;

/// Reads a request that must be whole.
fn with_request<T>(bytes: &[u8], look: impl FnOnce(RequestHead<'_>) -> T) -> T {
    let mut parser = HeadParser::new();
    match parser.request(bytes) {
        Ok(Some(head)) => look(head),
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Reads a response that must be whole.
fn with_response<T>(bytes: &[u8], asked: Asked, look: impl FnOnce(ResponseHead<'_>) -> T) -> T {
    let mut parser = HeadParser::new();
    match parser.response(bytes, asked) {
        Ok(Some(head)) => look(head),
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// An error, and none on the way to it but itself: no prefix may be taken for a head.
fn refuse(bytes: &[u8], expected: HeadError) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    for end in 0..=bytes.len().min(2000) {
        match HeadParser::new().request(&bytes[..end]) {
            Ok(None) => {}
            Err(error) => assert_eq!(error, expected, "{shown:?} after {end} bytes"),
            Ok(Some(head)) => panic!("{head:?}"),
        }
    }
    assert_eq!(HeadParser::new().request(bytes).err(), Some(expected), "{shown:?}");
}

/// The facts that tests compare.
fn outcome(bytes: &[u8]) -> Result<Option<(String, Framing, Persistence, usize)>, HeadError> {
    let mut parser = HeadParser::new();
    let head = parser.request(bytes)?;
    Ok(head.map(|head| (head.target_text.to_owned(), head.framing, head.persistence, head.consumed)))
}

const GET: Asked = Asked {
    method: AskedMethod::Other,
    version: Version::Http11,
    upgrade: Upgrade::None,
    persistence: Persistence::KeepAlive,
};
const HEAD: Asked = Asked { method: AskedMethod::Head, ..GET };
const CONNECT: Asked = Asked { method: AskedMethod::Connect, ..GET };
const WEBSOCKET: Asked = Asked { upgrade: Upgrade::Asked, ..GET };
