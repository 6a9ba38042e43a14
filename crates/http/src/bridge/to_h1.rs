//! From HTTP/2 to HTTP/1.1.

use std::io::Write;

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::BridgeError;
use super::validate::{content_length, h2_authority, validate_h2_request, validate_h2_response};
use crate::head::{Asked, AskedMethod, Framing, Version};
use crate::rewrite::push_field;

/// Whether anything follows a head that came by HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// The head ended its stream.
    None,
    /// Data or trailers follow.
    Follows,
}

/// Appends a request's head for HTTP/1.1 to `out` and says how its content is to be framed.
/// `:authority` becomes `Host`, and several cookie fields one (RFC 9113, 8.2.3).
///
/// # Errors
/// As [`validate_h2_request`], or when length and end of stream contradict each other; nothing is
/// appended then.
pub fn request_to_h1(request: &Request<()>, content: Content, out: &mut Vec<u8>) -> Result<Framing, BridgeError> {
    validate_h2_request(request)?;
    let authority = h2_authority(request).ok_or(BridgeError::Authority)?;
    let is_connect = request.method() == Method::CONNECT;
    let length = content_length(request.headers())?;
    let framing = match (content, length) {
        // RFC 9110, 9.3.6: the stream's data are the tunnel's.
        _ if is_connect && length.is_none() => Framing::Empty,
        (Content::None, None | Some(0)) => Framing::Empty,
        (Content::Follows, Some(length)) if !is_connect => Framing::Length(length),
        (Content::Follows, None) => Framing::Chunked,
        _ => return Err(BridgeError::ContentLength),
    };
    let target = match request.uri().path_and_query() {
        Some(path) if !is_connect => path.as_str(),
        _ => authority,
    };
    // Writing to memory can't fail.
    let _ = write!(out, "{} {target} HTTP/1.1\r\nhost: {authority}\r\n", request.method());
    push_fields(request.headers(), out);
    let wants_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    match framing {
        Framing::Chunked => out.extend(b"transfer-encoding: chunked\r\n"),
        // RFC 9110, 8.6: methods that expect content say that there is none.
        Framing::Empty if wants_length && length.is_none() => out.extend(b"content-length: 0\r\n"),
        _ => {}
    }
    push_length(length, out);
    out.extend(b"\r\n");
    Ok(framing)
}

/// Appends a response's head for HTTP/1.1 to `out` and says how its content is to be framed:
/// [`Framing::UntilClose`] for a client of HTTP/1.0, which knows no chunks.
///
/// # Errors
/// As [`validate_h2_response`], or when length and end of stream contradict each other; nothing
/// is appended then.
pub fn response_to_h1(
    response: &Response<()>,
    content: Content,
    asked: Asked,
    out: &mut Vec<u8>,
) -> Result<Framing, BridgeError> {
    validate_h2_response(response)?;
    let status = response.status();
    let length = content_length(response.headers())?;
    let is_tunnel = asked.method == AskedMethod::Connect && status.is_success();
    let never_has_content = status.is_informational() || status == StatusCode::NO_CONTENT || is_tunnel;
    let has_none = never_has_content || asked.method == AskedMethod::Head || status == StatusCode::NOT_MODIFIED;
    let framing = match (content, length) {
        (_, Some(1..)) if never_has_content => return Err(BridgeError::ContentLength),
        _ if has_none => Framing::Empty,
        (Content::None, None | Some(0)) => Framing::Length(0),
        (Content::None, Some(_)) => return Err(BridgeError::ContentLength),
        (Content::Follows, Some(length)) => Framing::Length(length),
        (Content::Follows, None) if asked.version == Version::Http10 => Framing::UntilClose,
        (Content::Follows, None) => Framing::Chunked,
    };
    // Writing to memory can't fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    push_fields(response.headers(), out);
    match framing {
        Framing::Chunked => out.extend(b"transfer-encoding: chunked\r\n"),
        Framing::UntilClose => out.extend(b"connection: close\r\n"),
        Framing::Length(0) if length.is_none() => out.extend(b"content-length: 0\r\n"),
        _ => {}
    }
    push_length(length.filter(|_| !never_has_content), out);
    out.extend(b"\r\n");
    Ok(framing)
}

/// All fields but those that are written apart, then the cookies in one.
fn push_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        if name != HOST && name != COOKIE && name != CONTENT_LENGTH {
            push_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    let mut cookies = fields.get_all(COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    out.extend(b"cookie: ");
    out.extend(first.as_bytes());
    for cookie in cookies {
        out.extend(b"; ");
        out.extend(cookie.as_bytes());
    }
    out.extend(b"\r\n");
}

fn push_length(length: Option<u64>, out: &mut Vec<u8>) {
    if let Some(length) = length {
        // Writing to memory can't fail.
        let _ = write!(out, "content-length: {length}\r\n");
    }
}
