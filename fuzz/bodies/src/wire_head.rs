//! The head of the mesh protocol.

use weft_wire::head::{Head, HeadError, MAX_HEAD_BYTES};

use crate::support::input::ends;

/// `Head::decode`.
///
/// # Panics
/// When a split changes the answer, when more is awaited than a head may have, or when a head that
/// was read isn't the same once written and read again.
pub fn wire_head(data: &[u8]) {
    let whole = Head::decode(data);
    for end in ends(data) {
        match Head::decode(&data[..end]) {
            Ok(None) => assert!(end < data.len() || whole == Ok(None)),
            settled => assert_eq!(settled, whole),
        }
    }
    assert!(data.len() < MAX_HEAD_BYTES || whole != Ok(None), "a head that never ends");
    let Ok(Some((head, length))) = whole else { return };
    assert!(length <= data.len() && length <= MAX_HEAD_BYTES);
    let mut out = Vec::new();
    head.encode(&mut out);
    assert_eq!(Head::decode(&out), Ok(Some((head, out.len()))));
    for end in 0..out.len() {
        assert_eq!(Head::decode(&out[..end]), Ok(None));
    }
    out[2] = 9;
    assert_eq!(Head::decode(&out), Err(HeadError::Kind(9)));
}
