//! Answers that Weft makes itself, and the end of a connection after one. None is anonymous: each
//! says why, and but for a denial also who and where.

use std::future::poll_fn;
use std::io;

use tokio::io::AsyncWriteExt;
use weft_http::error_response::ErrorResponse;
use weft_http::head::{AskedMethod, HeadError, Persistence};

use crate::limits::LINGER;
use crate::linger::Linger;
use crate::request::{REQUEST_ID, Request, UNPROCESSED};
use crate::side::Side;
use crate::why::{Cause, Failure};

/// What the asker must be known for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    /// HEAD gets no body.
    pub method: AskedMethod,
    /// Whether the connection goes on.
    pub persistence: Persistence,
    /// Who reads it.
    pub reader: Reader,
}

/// Who reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A program.
    Program,
    /// The caller's proxy, which may try another endpoint where nothing was processed.
    Proxy,
}

/// Answers with what `failure` means, and notes the status in `request`.
///
/// # Errors
/// When the asker has gone.
pub(super) async fn fail(to: &mut Side, asker: Asker, failure: &Failure, request: &Request) -> io::Result<()> {
    let status = failure.cause.status();
    let cause = failure.told();
    let fields = [(REQUEST_ID, request.id()), (UNPROCESSED, failure.cause.as_str())];
    let fields = match (asker.reader, is_other_endpoints(failure.cause)) {
        (Reader::Proxy, true) => &fields[..],
        _ => &fields[..1],
    };
    let answer = ErrorResponse { status, cause: &cause, fields, persistence: asker.persistence };
    send(to, asker.method, answer, request).await
}

/// Answers a head that isn't passed on; the connection ends.
pub(super) async fn refuse(to: &mut Side, error: HeadError, request: &Request) -> Failure {
    let failure = Failure::outbound(Cause::BadRequest, error.to_string());
    let cause = format!("{}; {error}", failure.cause);
    let (status, persistence) = (error.status(), Persistence::Close);
    let answer = ErrorResponse { status, cause: &cause, fields: &[], persistence };
    // Who sends such a thing may be gone already.
    let _gone = send(to, AskedMethod::Other, answer, request).await;
    failure
}

async fn send(to: &mut Side, method: AskedMethod, answer: ErrorResponse<'_>, request: &Request) -> io::Result<()> {
    let mut out = Vec::with_capacity(512);
    answer.write(method, &mut out);
    request.status.set(answer.status.as_u16());
    request.add_sent(out.len());
    to.write_all(&out).await?;
    to.flush().await
}

/// Ends a connection after its last message: what the peer still sends is taken for a while, lest
/// the kernel resets the connection and the peer never reads the answer.
pub(crate) async fn linger(mut side: Side) {
    let mut end = Linger::new(LINGER);
    poll_fn(|cx| end.poll(cx, &mut side)).await;
}

/// Whether nothing reached the program, and another endpoint may do better.
fn is_other_endpoints(cause: Cause) -> bool {
    matches!(cause, Cause::Connect | Cause::UnknownAddress | Cause::Limit | Cause::Draining)
}
