//! Heads of requests: completed, cleaned and read for policies and the log, before they go further.
//! Pure.

use std::borrow::Cow;

use http::header::{HOST, HeaderName};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use weft_http::bridge::h2_authority;
use weft_mesh::path::{Normalization, normalize, without_query};
use weft_mesh::{Headers, HttpCall};

use crate::random;
use crate::request::{FORGEABLE, IDENTITY, Line, REQUEST_ID};

/// Gives the request an `:authority`, if it has only `Host` (RFC 9113, 8.3.1).
pub(super) fn complete(head: &mut Request<()>) {
    if head.uri().authority().is_some() {
        return;
    }
    let Some(authority) = h2_authority(head).and_then(|authority| authority.parse().ok()) else { return };
    let mut parts = head.uri().clone().into_parts();
    parts.authority = Some(authority);
    // `h2` forgets the scheme of a request without an authority.
    parts.scheme.get_or_insert(Scheme::HTTP);
    if let Ok(uri) = Uri::from_parts(parts) {
        *head.uri_mut() = uri;
        head.headers_mut().remove(HOST);
    }
}

/// Normalizes the path, so that the program sees what policies matched.
///
/// # Errors
/// A text, when it can't be.
pub(super) fn normalize_path(head: &mut Request<()>) -> Result<(), String> {
    let Some(target) = head.uri().path_and_query() else { return Ok(()) };
    if head.method() == Method::CONNECT {
        return Ok(());
    }
    let normal = match normalize(target.as_str(), Normalization::default()).map_err(|e| e.to_string())? {
        Cow::Borrowed(_) => return Ok(()),
        Cow::Owned(normal) => normal,
    };
    let mut parts = head.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(normal).map_err(|e| e.to_string())?);
    *head.uri_mut() = Uri::from_parts(parts).map_err(|e| e.to_string())?;
    Ok(())
}

/// Takes out what only a proxy may say, in whatever spelling: programs may read `_` as `-`.
pub(super) fn strip(fields: &mut HeaderMap) {
    let forged: Vec<HeaderName> = fields.keys().filter(|name| is_forgeable(name.as_str())).cloned().collect();
    for name in forged {
        fields.remove(name);
    }
}

fn is_forgeable(name: &str) -> bool {
    let is_same = |a: u8, b: u8| a == b || (a == b'_' && b == b'-');
    FORGEABLE.iter().any(|forgeable| {
        forgeable.len() == name.len() && name.bytes().zip(forgeable.bytes()).all(|(a, b)| is_same(a, b))
    })
}

/// Gives the request an id, if it has none.
pub(super) fn identify(head: &mut Request<()>) {
    if let Some(id) = head.headers_mut().get_mut(REQUEST_ID) {
        return once(id);
    }
    if let Ok(mut id) = HeaderValue::from_str(random::request_id().as_str()) {
        once(&mut id);
        head.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Keeps the value out of HPACK's tables (RFC 7541, 6.2.3): none comes twice, and each would drive
/// out a field that does.
fn once(id: &mut HeaderValue) {
    id.set_sensitive(true);
}

/// What the log tells of a request.
pub(super) fn line(head: &Request<()>) -> Line<'_> {
    Line {
        method: head.method().as_str(),
        authority: h2_authority(head).unwrap_or_default(),
        target: target(head),
        id: head.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default(),
    }
}

/// The fields of a request, as policies read them.
pub(super) fn fields(head: &Request<()>) -> Fields<'_> {
    Fields { target: target(head), fields: head.headers() }
}

/// What policies look at, when `fields` are those of `head`.
pub(super) fn call<'a>(head: &'a Request<()>, fields: &'a Fields<'a>) -> HttpCall<'a> {
    HttpCall {
        method: head.method().as_str(),
        authority: h2_authority(head).unwrap_or_default(),
        path: without_query(fields.target),
        headers: fields,
    }
}

fn target(head: &Request<()>) -> &str {
    head.uri().path_and_query().map_or("", |target| target.as_str())
}

/// See [`fields`].
pub(super) struct Fields<'a> {
    target: &'a str,
    fields: &'a HeaderMap,
}

impl Headers for Fields<'_> {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == ":path" {
            return visit(self.target.as_bytes());
        }
        // What the proxy itself says in it isn't the caller's.
        if name != IDENTITY {
            self.fields.get_all(name).iter().for_each(|value| visit(value.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut head = Request::builder().uri(uri).body(()).unwrap();
        for (name, value) in fields {
            head.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        head
    }

    #[test]
    fn host_becomes_the_authority() {
        let mut head = head("/a?b", &[("host", "api:80")]);
        complete(&mut head);
        assert_eq!(h2_authority(&head), Some("api:80"));
        assert!(head.headers().is_empty());
    }

    #[test]
    fn the_program_gets_the_path_that_was_matched() {
        let mut head = head("http://api/a/..%2e/./b%41?../c", &[]);
        normalize_path(&mut head).unwrap();
        assert_eq!(head.uri(), "http://api/a/.../bA?../c");
        let fields = fields(&head);
        assert_eq!(call(&head, &fields).path, "/a/.../bA");
        assert!(normalize_path(&mut self::head("http://api/a%00", &[])).is_err());
    }

    #[test]
    fn what_a_caller_could_forge_is_taken_out() {
        let mut head = head("/", &[("x-forwarded-client-cert", "a"), ("x_forwarded-client_cert", "b"), ("x-a", "c")]);
        strip(head.headers_mut());
        assert_eq!(head.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a"]);
    }

    #[test]
    fn an_id_is_given_and_not_changed() {
        let mut named = head("/", &[("x-request-id", "mine")]);
        identify(&mut named);
        assert_eq!(line(&named).id, "mine");
        assert!(named.headers()[REQUEST_ID].is_sensitive());
        let mut unnamed = head("/", &[]);
        identify(&mut unnamed);
        assert_eq!(line(&unnamed).id.len(), 36);
        assert!(unnamed.headers()[REQUEST_ID].is_sensitive());
    }
}
