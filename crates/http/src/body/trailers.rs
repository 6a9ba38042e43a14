//! Trailer sections: the fields after the last chunk (RFC 9112, 7.1.2).

use super::BodyError;
use crate::head::{FieldSpan, Fields, HeadError, locate};
use crate::token::is_same_name;

/// Checks the trailer section at the start of `bytes`: its length, its empty line included, or
/// `None` when its end hasn't come.
pub(super) fn check(bytes: &[u8], refused: &[&str]) -> Result<Option<usize>, BodyError> {
    let bound = bytes.len().min(MAX_TRAILER_BYTES);
    let Some(end) = bytes[..bound].windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bound == MAX_TRAILER_BYTES { Err(BodyError::TrailersTooLarge) } else { Ok(None) };
    };
    let length = end + 4;
    let mut spans = Vec::new();
    for field in parse_trailers(&bytes[..length], &mut spans)?.iter() {
        let is_refused = |name: &&str| is_same_name(name.as_bytes(), field.name);
        if is_refused_trailer(field.name) || refused.iter().any(is_refused) {
            return Err(BodyError::RefusedTrailer);
        }
    }
    Ok(Some(length))
}

/// The fields of a whole trailer section.
pub(crate) fn parse_trailers<'a>(section: &'a [u8], spans: &'a mut Vec<FieldSpan>) -> Result<Fields<'a>, BodyError> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let headers = match httparse::parse_headers(section, &mut slots) {
        Ok(httparse::Status::Complete((length, headers))) if length == section.len() => headers,
        Ok(_) => return Err(BodyError::Trailers(HeadError::LineEnd)),
        Err(error) => return Err(BodyError::Trailers(field_error(error))),
    };
    locate(section, headers, spans).map_err(BodyError::Trailers)?;
    Ok(Fields::new(section, spans))
}

/// Whether a field may not stand in trailers (RFC 9110, 6.5.1): it frames or routes the message,
/// changes how it is handled, authenticates, or says how its content is to be read.
pub(crate) fn is_refused_trailer(name: &[u8]) -> bool {
    let begins_with_if = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"if-"));
    begins_with_if || HEAD_ONLY.iter().any(|refused| is_same_name(refused.as_bytes(), name))
}

fn field_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::NewLine => HeadError::LineEnd,
        _ => HeadError::FieldName,
    }
}

const HEAD_ONLY: [&str; 26] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "warning",
    "www-authenticate",
];

/// The most bytes of a trailer section, its empty line included.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// The most fields of a trailer section.
pub const MAX_TRAILER_FIELDS: usize = 64;
