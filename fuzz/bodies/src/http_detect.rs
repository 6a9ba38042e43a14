//! What a connection carries: told from its first bytes, and never told otherwise by later ones.

use weft_http::detect::{Detected, HTTP2_PREFACE, MAX_METHOD_BYTES, MAX_TARGET_BYTES, detect};
use weft_http::head::HeadParser;

use crate::support::input::ends;

/// `detect`.
///
/// # Panics
/// When later bytes change an answer, when it waits beyond its bounds, or when it doesn't see a
/// request that the strict reader reads.
pub fn http_detect(data: &[u8]) {
    let mut settled = Detected::NeedMore;
    for end in ends(data) {
        let now = detect(&data[..end]);
        assert!(settled == Detected::NeedMore || settled == now, "{settled:?}, then {now:?}");
        settled = now;
    }
    if data.len() > MAX_METHOD_BYTES + MAX_TARGET_BYTES + 16 {
        assert_ne!(settled, Detected::NeedMore);
    }
    assert_eq!(settled == Detected::Http2Preface, data.starts_with(HTTP2_PREFACE));
    if let Ok(Some(head)) = HeadParser::new().request(data)
        && head.consumed == head.bytes.len()
        && head.method.len() <= MAX_METHOD_BYTES
        && head.target_text.len() <= MAX_TARGET_BYTES
    {
        assert_eq!(settled, Detected::Http1);
    }
}
