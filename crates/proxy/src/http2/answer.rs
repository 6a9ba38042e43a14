//! Answers that Weft makes itself on a stream: for HTTP a status and a line, for gRPC a status of
//! its own in the head, each with the reason in `weft-error`.

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use weft_http::error_response::ErrorResponse;

use super::exchange::{Ending, Exchange};
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
}

/// Tells the caller how its call ended, as far as that is still to be told. Returns what went wrong.
pub(super) fn conclude(exchange: &mut Exchange, ending: Ending, dialect: Dialect, here: Hop) -> Option<Failure> {
    let at = |hop, cause, detail: String| Some(Failure { hop, cause, detail });
    match ending {
        Ending::Complete => None,
        Ending::CallerReset(reason) => at(Hop::Caller, Cause::Reset, format!("it reset the stream: {reason}")),
        Ending::CalleeReset(reason) => {
            exchange.reset(reason);
            at(Hop::Callee, Cause::Reset, format!("it reset the stream: {reason}"))
        }
        Ending::Unprocessed(reason) => {
            // Whoever called may still try elsewhere.
            exchange.reset(Reason::REFUSED_STREAM);
            let reason = reason.unwrap_or(Reason::REFUSED_STREAM);
            at(Hop::Callee, Cause::Reset, format!("it processed nothing: {reason}"))
        }
        Ending::Broken(detail) => {
            let failure = Failure { hop: here, cause: Cause::Reset, detail };
            fail(exchange, dialect, &failure);
            Some(failure)
        }
    }
}

/// Tells the caller that its call failed: by an answer, or by a reset where an answer has begun.
pub(super) fn fail(exchange: &mut Exchange, dialect: Dialect, failure: &Failure) {
    match exchange.unanswered() {
        Some(respond) => {
            refuse(respond, dialect, failure);
        }
        None => exchange.reset(reset(dialect, failure.cause)),
    }
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

/// Answers that the call failed, and returns status and gRPC status that were told.
pub(super) fn refuse(respond: &mut SendResponse<Bytes>, dialect: Dialect, failure: &Failure) -> (StatusCode, Option<u32>) {
    let status = status(failure.cause);
    let cause = told(failure);
    let error = ErrorResponse { status, cause: &cause };
    let text = error.cause();
    let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weft"));
    let body = error.body();
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    response.headers_mut().insert(WEFT_ERROR, value);
    let told = match dialect {
        Dialect::Http => {
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            headers.insert(CONTENT_LENGTH, body.len().into());
            (status, None)
        }
        Dialect::Grpc => {
            let code = grpc_code(failure.cause);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, code.into());
            if let Ok(message) = HeaderValue::from_str(&grpc_message(body.trim_end())) {
                headers.insert(GRPC_MESSAGE, message);
            }
            (StatusCode::OK, Some(code))
        }
    };
    // A caller that has gone isn't told.
    if let Ok(mut content) = respond.send_response(response, dialect == Dialect::Grpc)
        && dialect == Dialect::Http
    {
        let _gone = content.send_data(Bytes::from(body), true);
    }
    told
}

/// The HTTP status of a failure.
fn status(cause: Cause) -> StatusCode {
    match cause {
        Cause::Policy | Cause::PolicyChanged => StatusCode::FORBIDDEN,
        Cause::Malformed => StatusCode::BAD_REQUEST,
        Cause::Protocol => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The gRPC status of a failure (gRPC, Status Codes).
fn grpc_code(cause: Cause) -> u32 {
    match cause {
        Cause::Policy | Cause::PolicyChanged => PERMISSION_DENIED,
        Cause::Malformed => INTERNAL,
        _ => UNAVAILABLE,
    }
}

/// What the caller learns. Of policy no more than the word.
fn told(failure: &Failure) -> String {
    match failure.cause {
        Cause::Policy | Cause::PolicyChanged => "policy".to_owned(),
        _ => failure.to_string(),
    }
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

const PERMISSION_DENIED: u32 = 7;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
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
}
