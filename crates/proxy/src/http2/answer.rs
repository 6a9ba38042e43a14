//! Answers that Weft makes itself on a stream: for HTTP a status and a line, for gRPC a status of
//! its own in the head, each with the reason in `weft-error`.

use bytes::Bytes;
use h2::Reason;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, Version};
use weft_http::error_response::ErrorResponse;
use weft_http::head::Persistence;

use super::exchange::{Ending, Exchange};
use crate::request::{REQUEST_ID, UNPROCESSED};
use crate::why::{Cause, Failure, Hop};

/// How the caller wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A status and a body.
    Http,
    /// A gRPC status.
    Grpc,
}

impl Dialect {
    /// What a request with these fields speaks (gRPC over HTTP/2, Content-Type).
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let grpc = fields.get(CONTENT_TYPE).is_some_and(|value| {
            let rest = value.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        });
        if grpc { Self::Grpc } else { Self::Http }
    }

    /// The value of the label `request_protocol`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// Whether the caller's proxy may be told that nothing was processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// A proxy that tries elsewhere then.
    Proxy,
    /// Somebody who is no proxy of the mesh.
    Program,
}

/// Tells the caller how its call ended, as far as that is still to be told. Returns what went wrong.
pub(super) fn conclude(exchange: &mut Exchange, ending: Ending, dialect: Dialect, here: Hop) -> Option<Failure> {
    let reset = |hop, why| Some(Failure { hop, cause: Cause::Reset, detail: format!("it reset the stream: {why}") });
    let (cause, detail) = match ending {
        Ending::Complete => return None,
        Ending::CallerReset(reason) => return reset(Hop::Caller, reason),
        Ending::CalleeReset(reason) => {
            exchange.reset(reason);
            return reset(Hop::Callee, reason);
        }
        Ending::Unprocessed(_) => {
            // Whoever called may still try elsewhere.
            exchange.reset(Reason::REFUSED_STREAM);
            return reset(Hop::Callee, Reason::REFUSED_STREAM);
        }
        Ending::Broken(detail) => (Cause::Reset, detail),
        Ending::Malformed(detail) => (Cause::BadResponse, detail),
    };
    let failure = Failure { hop: here, cause, detail };
    fail(exchange, dialect, Audience::Program, &failure);
    Some(failure)
}

/// Tells the caller that its call failed: by an answer, or by a reset where an answer has begun.
pub(super) fn fail(exchange: &mut Exchange, dialect: Dialect, audience: Audience, failure: &Failure) {
    let mut response = match dialect {
        Dialect::Http => http(failure),
        Dialect::Grpc => grpc(failure),
    };
    let fields = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(exchange.account.id())
        && !id.is_empty()
    {
        fields.insert(REQUEST_ID, id);
    }
    if audience == Audience::Proxy && is_other_endpoints(failure.cause) {
        fields.insert(UNPROCESSED, HeaderValue::from_static(failure.cause.as_str()));
    }
    let (head, body) = response.into_parts();
    let (status, grpc_status) = (head.status.as_u16(), super::transfer::grpc_status(&head.headers));
    let Some(respond) = exchange.unanswered() else {
        return exchange.reset(reset(dialect, failure.cause));
    };
    // A caller that has gone isn't told.
    if let Ok(mut content) = respond.send_response(Response::from_parts(head, ()), body.is_empty())
        && !body.is_empty()
    {
        let _gone = content.send_data(body, true);
    }
    exchange.account.status.set(status);
    exchange.account.grpc_status.set(grpc_status);
}

fn http(failure: &Failure) -> Response<Bytes> {
    let text = failure.told();
    let error = error(failure, &text);
    let body = error.body();
    let mut response = Response::new(Bytes::new());
    *response.version_mut() = Version::HTTP_2;
    *response.status_mut() = error.status;
    let fields = response.headers_mut();
    fields.insert(WEFT_ERROR, value(&error.cause()));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    fields.insert(CONTENT_LENGTH, body.len().into());
    response.map(|_| body.into())
}

/// A head that is the whole response (gRPC over HTTP/2, Trailers-Only).
fn grpc(failure: &Failure) -> Response<Bytes> {
    let text = failure.told();
    let error = error(failure, &text);
    let mut response = Response::new(Bytes::new());
    *response.version_mut() = Version::HTTP_2;
    let fields = response.headers_mut();
    fields.insert(WEFT_ERROR, value(&error.cause()));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(GRPC_STATUS, grpc_code(failure.cause).into());
    fields.insert(GRPC_MESSAGE, value(&grpc_message(error.body().trim_end())));
    response
}

fn error<'a>(failure: &Failure, text: &'a str) -> ErrorResponse<'a> {
    let persistence = Persistence::KeepAlive;
    ErrorResponse { status: failure.cause.status(), cause: text, fields: &[], persistence }
}

/// The code for a response that can't be ended well. gRPC's libraries read one of them as
/// PERMISSION_DENIED (gRPC over HTTP/2, Errors).
fn reset(dialect: Dialect, cause: Cause) -> Reason {
    match cause {
        Cause::PolicyChanged if dialect == Dialect::Grpc => Reason::INADEQUATE_SECURITY,
        Cause::PolicyChanged => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}

/// The gRPC status of a failure (gRPC, Status Codes).
fn grpc_code(cause: Cause) -> u16 {
    match cause {
        Cause::Policy | Cause::PolicyChanged => PERMISSION_DENIED,
        Cause::BadRequest => INTERNAL,
        _ => UNAVAILABLE,
    }
}

/// Whether nothing reached the program, and another endpoint may do better.
fn is_other_endpoints(cause: Cause) -> bool {
    matches!(cause, Cause::Connect | Cause::Protocol | Cause::UnknownAddress | Cause::Limit | Cause::Draining)
}

/// A message as `grpc-message` carries it: `%` and what isn't printable ASCII are escaped.
fn grpc_message(text: &str) -> String {
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            message.push(char::from(byte));
        } else {
            message.push_str(&format!("%{byte:02X}"));
        }
    }
    message
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unprintable"))
}

const PERMISSION_DENIED: u16 = 7;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const WEFT_ERROR: HeaderName = HeaderName::from_static("weft-error");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, dialect) in [
            ("application/grpc", Dialect::Grpc),
            ("application/grpc+proto", Dialect::Grpc),
            ("application/grpc;charset=utf-8", Dialect::Grpc),
            ("application/grpc-web", Dialect::Http),
            ("application/json", Dialect::Http),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(Dialect::of(&fields), dialect, "{value}");
        }
        assert_eq!(Dialect::of(&HeaderMap::new()), Dialect::Http);
    }

    #[test]
    fn messages_are_printable() {
        assert_eq!(grpc_message("a 5% ä\n"), "a 5%25 %C3%A4%0A");
    }

    #[test]
    fn a_denial_says_no_more_than_that() {
        let failure = Failure::inbound(Cause::Policy, "rule 3 of default/api");
        let http = http(&failure);
        assert_eq!((http.status().as_u16(), &http.body()[..]), (403, &b"RBAC: access denied"[..]));
        let grpc = grpc(&failure);
        assert_eq!((grpc.status().as_u16(), grpc.body().len()), (200, 0));
        assert_eq!(grpc.headers()["grpc-message"], "RBAC: access denied");
        for headers in [http.headers(), grpc.headers()] {
            assert_eq!(headers["weft-error"], "policy");
        }
    }
}
