//! Heads of requests: completed, cleaned and judged, before they go further. Pure.

use std::borrow::Cow;

use http::header::{HOST, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use weft_http::bridge::h2_authority;
use weft_mesh::decide::{Decision, decide};
use weft_mesh::path::{Normalization, normalize, without_query};
use weft_mesh::record::Inbound;
use weft_mesh::{Call, Headers, HttpCall};

use crate::access::Judged;
use crate::live::{Facts, judged};

/// Gives the request an `:authority`, if it has only `Host` (RFC 9113, 8.3.1).
pub(super) fn complete(head: &mut Request<()>) {
    if head.uri().authority().is_some() {
        return;
    }
    let Some(authority) = h2_authority(head).and_then(|authority| authority.parse().ok()) else { return };
    let mut parts = head.uri().clone().into_parts();
    parts.authority = Some(authority);
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

/// Takes out what only a proxy may say.
pub(super) fn strip(head: &mut Request<()>) {
    let fields = head.headers_mut();
    for name in FORGEABLE {
        fields.remove(name);
    }
}

/// Why policy refuses the request; `None` when it doesn't.
pub(super) fn denied(inbound: &Inbound, facts: &Facts, head: &Request<()>) -> Option<Judged> {
    let target = head.uri().path_and_query().map_or("", |target| target.as_str());
    let fields = Fields { target, fields: head.headers() };
    let http = HttpCall {
        method: head.method().as_str(),
        authority: h2_authority(head).unwrap_or_default(),
        path: without_query(target),
        headers: &fields,
    };
    let verdict = decide(inbound, &Call { http: Some(http), ..facts.call() });
    (verdict.decision == Decision::Deny).then(|| judged(inbound, &verdict))
}

struct Fields<'a> {
    target: &'a str,
    fields: &'a HeaderMap,
}

impl Headers for Fields<'_> {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == ":path" {
            return visit(self.target.as_bytes());
        }
        for value in self.fields.get_all(name) {
            visit(value.as_bytes());
        }
    }
}

const FORGEABLE: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("l5d-client-id"),
    HeaderName::from_static("weft-client-id"),
];
