//! `Forwarded` between proxies: the host that a sender says, or nothing.

use weft_http::authority::Authority;
use weft_http::forwarded::forwarded_host;

/// `forwarded_host`.
///
/// # Panics
/// When a host is none, or wasn't sent; when one more host, element or half a parameter still leaves one.
pub fn http_forwarded(data: &[u8]) {
    let Some(host) = forwarded_host(data) else { return };
    assert!(Authority::parse(host.as_bytes()).is_some(), "{host:?}");
    assert!(data.windows(host.len()).any(|sent| sent == host.as_bytes()));
    for more in [";host=other", ";HOST=other", ", for=other", ",host=other", ";", ";x", ";x="] {
        assert_eq!(forwarded_host(&[data, more.as_bytes()].concat()), None, "{more}");
    }
    let again = format!("for=\"10.0.0.1:1\";host=\"{host}\"");
    assert_eq!(forwarded_host(again.as_bytes()), Some(host));
}
