//! Chunks written, for bodies that come from HTTP/2.

use std::io::Write;

use http::HeaderMap;

use super::is_refused_trailer;
use crate::token::is_field_value;

/// Appends a chunk's size line to `out`; then `length` bytes of data follow, then CRLF. Nothing
/// for 0, which would end the body.
pub fn write_chunk_start(length: usize, out: &mut Vec<u8>) {
    if length > 0 {
        // Writing to memory can't fail.
        let _ = write!(out, "{length:x}\r\n");
    }
}

/// Appends the last chunk and the trailers to `out`. Fields that only a head may have are left
/// out: a receiver could take them for the head's.
pub fn write_last_chunk(trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend(b"0\r\n");
    for (name, value) in trailers {
        let value = value.as_bytes();
        if !is_refused_trailer(name.as_str().as_bytes()) && is_field_value(value) {
            out.extend(name.as_str().as_bytes());
            out.extend(b": ");
            out.extend(value);
            out.extend(b"\r\n");
        }
    }
    out.extend(b"\r\n");
}
