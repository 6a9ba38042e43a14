//! Authorities: `host[:port]`, with one spelling for one host.

use weft_http::authority::Authority;

/// `Authority::parse`.
///
/// # Panics
/// When an authority that is put together of its parts is another one, or holds what could be read
/// in two ways.
pub fn http_authority(data: &[u8]) {
    let Some(authority) = Authority::parse(data) else { return };
    let text = match authority.port {
        Some(port) => format!("{}:{port}", authority.host),
        None => authority.host.to_owned(),
    };
    assert_eq!(Authority::parse(text.as_bytes()), Some(authority));
    assert!(authority.is_same(&authority, None));
    let ambiguous = |byte: &u8| matches!(byte, b'@' | b'/' | b'\\' | b'?' | b'#' | b'%' | b',' | 0..=b' ' | 0x7f..);
    assert!(!data.iter().any(ambiguous), "{text:?}");
    assert!(data.starts_with(authority.host.as_bytes()));
}
