//! The frames of a lane.

use weft_wire::frame::{Frame, MAX_FRAME_BYTES};

use crate::support::input::ends;

/// `Frame::decode`, frame after frame.
///
/// # Panics
/// When a split changes the answer, when more is awaited than a frame may have, or when a frame
/// isn't written as it was read.
pub fn wire_frame(data: &[u8]) {
    let mut rest = data;
    loop {
        let whole = Frame::decode(rest);
        for end in ends(rest) {
            match Frame::decode(&rest[..end]) {
                Ok(None) => assert!(end < rest.len() || whole == Ok(None)),
                settled => assert_eq!(settled, whole),
            }
        }
        assert!(rest.len() < MAX_FRAME_BYTES || whole != Ok(None), "a frame that never ends");
        let Ok(Some((frame, length))) = whole else { return };
        let mut out = Vec::new();
        frame.encode(&mut out);
        assert_eq!(out, rest[..length]);
        rest = &rest[length..];
    }
}
