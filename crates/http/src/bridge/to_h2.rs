//! From HTTP/1 to HTTP/2.

use http::header::{HeaderName, HeaderValue, TE};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::BridgeError;
use super::validate::is_connection_field;
use crate::body::{is_refused_trailer, parse_trailers};
use crate::head::{FieldKind, Fields, RequestHead, ResponseHead, Role, Target};
use crate::rewrite::accepts_trailers;
use crate::token::elements;

/// Makes an HTTP/1 request's head into one for HTTP/2 (RFC 9113, 8.3.1). `Host` becomes the
/// authority, and a target in absolute form its parts; the scheme is `http` unless the target
/// says otherwise. Cookies stay as they came.
///
/// # Errors
/// [`BridgeError::Authority`] for HTTP/1.0 without `Host`; [`BridgeError::Path`] for a target
/// that the `http` crate doesn't take.
pub fn request_to_h2(head: &RequestHead<'_>) -> Result<Request<()>, BridgeError> {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(|_| BridgeError::Method)?;
    *request.uri_mut() = uri(head)?;
    *request.headers_mut() = fields_to_h2(head.fields)?;
    Ok(request)
}

/// Makes an HTTP/1 response's head into one for HTTP/2; interim ones, too.
///
/// # Errors
/// [`BridgeError::Status`] for a switch of protocols other than CONNECT's.
pub fn response_to_h2(head: &ResponseHead<'_>) -> Result<Response<()>, BridgeError> {
    if head.role == Role::Switched && head.status == 101 {
        return Err(BridgeError::Status);
    }
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| BridgeError::Status)?;
    *response.headers_mut() = fields_to_h2(head.fields)?;
    Ok(response)
}

/// Makes a trailer section, as [`crate::body::Step::Trailers`] found it, into trailers for HTTP/2.
///
/// # Errors
/// [`BridgeError::Trailers`] when `section` isn't such a section.
pub fn trailers_to_h2(section: &[u8]) -> Result<HeaderMap, BridgeError> {
    let mut spans = Vec::new();
    let mut trailers = fields_to_h2(parse_trailers(section, &mut spans)?)?;
    let refused: Vec<HeaderName> =
        trailers.keys().filter(|name| is_refused_trailer(name.as_str().as_bytes())).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
    Ok(trailers)
}

fn uri(head: &RequestHead<'_>) -> Result<Uri, BridgeError> {
    let authority = head.authority.ok_or(BridgeError::Authority)?.parse().map_err(|_| BridgeError::Authority)?;
    let mut parts = http::uri::Parts::default();
    parts.authority = Some(authority);
    if let Target::Authority(_) = head.target {
        return Uri::from_parts(parts).map_err(|_| BridgeError::Authority);
    }
    let (scheme, path) = match head.target {
        Target::Absolute { scheme, path, query, .. } => (
            if scheme.eq_ignore_ascii_case("https") { Scheme::HTTPS } else { Scheme::HTTP },
            match query {
                Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
                None => PathAndQuery::try_from(path),
            },
        ),
        _ => (Scheme::HTTP, PathAndQuery::try_from(head.target_text)),
    };
    parts.scheme = Some(scheme);
    parts.path_and_query = Some(path.map_err(|_| BridgeError::Path)?);
    Uri::from_parts(parts).map_err(|_| BridgeError::Path)
}

/// The fields that cross: not those of the connection, those that it names, and `Host`
/// (RFC 9113, 8.2.2 and 8.3.1). Of `TE` only `trailers` does.
fn fields_to_h2(fields: Fields<'_>) -> Result<HeaderMap, BridgeError> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for line in fields.lines() {
        let name = line.field.name;
        let is_te = line.kind == FieldKind::Te;
        if is_connection_field(line.kind) || line.kind == FieldKind::Host || (!is_te && is_named(fields, name)) {
            continue;
        }
        if is_te {
            if accepts_trailers(line.field.value) {
                map.insert(TE, HeaderValue::from_static("trailers"));
            }
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| BridgeError::Field)?;
        let value = HeaderValue::from_bytes(line.field.value).map_err(|_| BridgeError::Field)?;
        map.try_append(name, value).map_err(|_| BridgeError::Field)?;
    }
    Ok(map)
}

fn is_named(fields: Fields<'_>, name: &[u8]) -> bool {
    let mut values = fields.lines().filter(|line| line.kind == FieldKind::Connection).map(|line| line.field.value);
    values.any(|value| elements(value).any(|option| option.eq_ignore_ascii_case(name)))
}
