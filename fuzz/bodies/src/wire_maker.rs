//! What the socket maker is asked.

use weft_wire::maker::{MAX_BATCH, NoRequest, Request};

/// `maker::Request::decode`.
///
/// # Panics
/// When a request isn't the packet that it was read from, or asks for more than may be asked.
pub fn wire_maker(data: &[u8]) {
    match Request::decode(data) {
        Err(NoRequest(length)) => assert_eq!(length, data.len()),
        Ok(request) => {
            assert_eq!(request.encode(), data);
            if let Request::Streams(_, count) = request {
                assert!((1..=MAX_BATCH).contains(&count));
            }
        }
    }
}
