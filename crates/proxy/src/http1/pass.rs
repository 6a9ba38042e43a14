//! Heads of answers on their way.

use std::io;
use std::task::Context;

use weft_http::body::BodyReader;
use weft_http::head::{Asked, Persistence, ResponseHead, Role, Version};
use weft_http::rewrite::{Edits, Hop, Rewritten};

use super::exchange::{Answer, Callee};
use crate::request::{Request, UNPROCESSED};
use crate::side::Side;
use crate::why::{Cause, Failure};

/// What is needed to pass a head on.
pub(super) struct Passing<'x> {
    pub client: &'x mut Side,
    pub request: &'x Request,
    pub asked: Asked,
    pub callee: Callee,
    pub hop: Hop,
}

/// A head that was passed on: how many bytes it took, and what comes next.
pub(super) struct Passage {
    pub used: usize,
    pub persistence: Persistence,
    pub answer: Answer,
}

/// Why a head isn't passed on.
pub(super) enum Stop {
    Bad(String),
    ClientGone(io::Error),
    Unprocessed(Failure),
}

/// Passes a head on, and what of its body is in `bytes`.
pub(super) fn pass(
    cx: &mut Context<'_>,
    head: &ResponseHead<'_>,
    bytes: &[u8],
    to: &mut Passing<'_>,
) -> Result<Passage, Stop> {
    if matches!(to.callee, Callee::Proxy(_)) && head.fields.values(UNPROCESSED).next().is_some() {
        return Err(Stop::Unprocessed(told(head)));
    }
    let mut body = BodyReader::new(head.framing);
    let length = head.bytes.len();
    let (answer, taken) = match head.role {
        // A client of HTTP/1.0 doesn't know them (RFC 9110, 15.2).
        Role::Interim if to.asked.version == Version::Http10 => {
            return Ok(Passage { used: length, persistence: head.persistence, answer: Answer::Awaited });
        }
        Role::Interim => (Answer::Awaited, 0),
        Role::Switched => (Answer::Switched, 0),
        Role::Final => {
            let taken = body.take(&bytes[length..]).map_err(|error| Stop::Bad(error.to_string()))?;
            let answer = if taken.over { Answer::Over(head.framing) } else { Answer::Body(body, head.framing) };
            (answer, taken.length)
        }
    };
    let hop = if head.role == Role::Final { to.hop } else { Hop::Keep };
    let edits = Edits { remove: &[UNPROCESSED], hop, ..Edits::default() };
    let mut out = Vec::new();
    let rewritten = head.rewrite(&edits, &mut out).map_err(|error| Stop::Bad(error.to_string()))?;
    let message = match rewritten {
        Rewritten::AsIs(_) => &bytes[..length + taken],
        Rewritten::Appended => {
            out.extend_from_slice(&bytes[length..length + taken]);
            &out
        }
    };
    to.request.add_sent(message.len());
    if head.role != Role::Interim {
        to.request.status.set(head.status);
    }
    to.client.send_now(cx, message).map_err(Stop::ClientGone)?;
    let persistence = if hop == Hop::Close { Persistence::Close } else { head.persistence };
    Ok(Passage { used: length + taken, persistence, answer })
}

/// What the callee's proxy says of a request that it didn't process.
fn told(head: &ResponseHead<'_>) -> Failure {
    let text = |name| head.fields.values(name).next().map(String::from_utf8_lossy);
    let cause = match text(UNPROCESSED).as_deref() {
        Some("draining") => Cause::Draining,
        Some("limit") => Cause::Limit,
        Some("unknown-address") => Cause::UnknownAddress,
        _ => Cause::Connect,
    };
    Failure::inbound(cause, Failure::detail_told(&text("weft-error").unwrap_or_default()))
}
