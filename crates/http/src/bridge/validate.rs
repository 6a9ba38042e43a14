//! What the `h2` crate lets through and must not pass (RFC 9113, 8.1.1 to 8.3).

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::BridgeError;
use crate::authority::Authority;
use crate::body::is_refused_trailer;
use crate::head::{FieldKind, parse_length};
use crate::token::is_token;

/// Checks a request that came by HTTP/2. An extended CONNECT (RFC 8441) is refused: nothing here
/// offers it.
///
/// # Errors
/// [`BridgeError`] says what is malformed; the stream is reset with `PROTOCOL_ERROR`, or answered
/// with 400.
pub fn validate_h2_request(request: &Request<()>) -> Result<(), BridgeError> {
    check_fields(request.headers())?;
    content_length(request.headers())?;
    check_authority(request)?;
    let uri = request.uri();
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(BridgeError::Scheme);
    }
    let path = uri.path_and_query().map(|path| path.as_str());
    let is_good = match path {
        _ if request.method() == Method::CONNECT => {
            let has_port = uri.authority().is_some_and(|authority| authority.port().is_some());
            has_port && path.is_none_or(str::is_empty)
        }
        Some("*") => request.method() == Method::OPTIONS,
        Some(path) => path.starts_with('/') && path.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#'),
        None => false,
    };
    if is_good { Ok(()) } else { Err(BridgeError::Path) }
}

/// Checks a response that came by HTTP/2.
///
/// # Errors
/// [`BridgeError`] says what is malformed; the client's answer is 502.
pub fn validate_h2_response(response: &Response<()>) -> Result<(), BridgeError> {
    check_fields(response.headers())?;
    content_length(response.headers())?;
    // RFC 9113, 8.6: there is no switching of protocols.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS { Err(BridgeError::Status) } else { Ok(()) }
}

/// Checks trailers that came by HTTP/2. Fields that only heads may have are refused
/// (RFC 9110, 6.5.1).
///
/// # Errors
/// [`BridgeError`] says what is malformed; the stream is reset.
pub fn validate_h2_trailers(trailers: &HeaderMap) -> Result<(), BridgeError> {
    check_fields(trailers)?;
    let is_refused = trailers.keys().any(|name| is_refused_trailer(name.as_str().as_bytes()));
    if is_refused { Err(BridgeError::Field) } else { Ok(()) }
}

/// Whom a request is for: `:authority`, or `Host` where that is absent (RFC 9113, 8.3.1).
pub fn h2_authority(request: &Request<()>) -> Option<&str> {
    let pseudo = request.uri().authority().map(|authority| authority.as_str());
    pseudo.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// The content length, of which there may be one.
pub(super) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, BridgeError> {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let length = parse_length(value.as_bytes()).filter(|_| values.next().is_none());
    length.map(Some).ok_or(BridgeError::ContentLength)
}

/// Whether the field speaks of a connection (RFC 9113, 8.2.2; `HTTP2-Settings`: RFC 7540, 3.2.1).
pub(super) fn is_connection_field(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Connection
            | FieldKind::KeepAlive
            | FieldKind::ProxyConnection
            | FieldKind::TransferEncoding
            | FieldKind::Upgrade
            | FieldKind::Http2Settings
    )
}

fn check_fields(fields: &HeaderMap) -> Result<(), BridgeError> {
    for (name, value) in fields {
        let name = name.as_str().as_bytes();
        let kind = FieldKind::of(name);
        if is_connection_field(kind) || (kind == FieldKind::Te && value != "trailers") {
            return Err(BridgeError::ConnectionField);
        }
        // `HeaderValue` bears no control bytes but the tab, so that only the ends are to be looked at.
        let ends = [value.as_bytes().first(), value.as_bytes().last()];
        let has_blank_end = ends.iter().any(|end| matches!(end, Some(b' ' | b'\t')));
        if kind == FieldKind::Disguised || !is_token(name) || has_blank_end {
            return Err(BridgeError::Field);
        }
    }
    Ok(())
}

fn check_authority(request: &Request<()>) -> Result<(), BridgeError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() {
        return Err(BridgeError::HostMismatch);
    }
    let pseudo = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let authority = pseudo.or(host).ok_or(BridgeError::Authority)?;
    Authority::parse(authority).ok_or(BridgeError::Authority)?;
    match host {
        Some(host) if !host.eq_ignore_ascii_case(authority) => Err(BridgeError::HostMismatch),
        _ => Ok(()),
    }
}
