//! One stream between its caller and its callee: head, content and trailers both ways, and each
//! side's resets with their codes. Knows neither policy nor endpoints.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Request, Response};
use weft_http::bridge::{Content, validate_h2_response};

use super::connection::{Lease, NotSent, Opened};
use super::transfer::{Broken, Transfer, grpc_status};
use crate::request::{self, UNPROCESSED};

/// A request's content that came on a stream, the way back, and the account of both.
pub(super) struct Exchange {
    /// The request's account.
    pub account: request::Request,
    request: Transfer,
    back: Back,
}

/// The way back to the caller.
#[allow(clippy::large_enum_variant, reason = "most of a stream's life is spent in the large one")]
enum Back {
    /// Nothing but interim responses was sent.
    Head(SendResponse<Bytes>),
    /// The head was sent, the content follows.
    Content(Transfer, SendStream<Bytes>),
    /// All was sent with the head.
    Ended,
}

/// One attempt to have the request answered.
pub(super) struct Attempt<'a> {
    /// The request's head.
    pub head: &'a Request<()>,
    /// Where it goes.
    pub lease: &'a Lease,
    /// How often it can be tried again.
    pub tries_left: usize,
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Both sides have said all they had to say.
    Complete,
    /// The caller reset the stream; the callee was told.
    CallerReset(Reason),
    /// The callee reset the stream; the caller isn't told yet.
    CalleeReset(Reason),
    /// The connection to the callee broke.
    Broken(String),
    /// What came isn't a response.
    Malformed(String),
    /// The callee did nothing with it.
    Unprocessed(Refused),
}

/// How a callee said that it did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It refused the stream.
    Stream,
    /// Its connection takes no more streams.
    Connection,
    /// Its proxy answered so.
    Told,
}

impl Exchange {
    /// A stream that was opened, its head apart.
    pub(super) fn split((request, respond): Opened) -> (Request<()>, Transfer, SendResponse<Bytes>) {
        let (parts, content) = request.into_parts();
        (Request::from_parts(parts, ()), Transfer::replayable(content), respond)
    }

    /// The exchange of a stream, once its account is open.
    pub(super) fn new(account: request::Request, request: Transfer, respond: SendResponse<Bytes>) -> Self {
        Self { account, request, back: Back::Head(respond) }
    }

    /// Sends the request and passes everything on until it ends. `answered` is called when the
    /// response's head has come.
    pub(super) async fn attempt(&mut self, attempt: Attempt<'_>, answered: impl Fn()) -> Ending {
        let Attempt { head, lease, tries_left } = attempt;
        let content = if self.request.is_empty() { Content::None } else { Content::Follows };
        let (mut response, mut to) = match lease.send(head.clone(), content) {
            Ok(sent) => sent,
            Err(NotSent::Closed) => return Ending::Unprocessed(Refused::Connection),
            Err(NotSent::Head(error)) => return Ending::Malformed(error),
        };
        let mut uploading = content == Content::Follows;
        let mut waiting = true;
        let ending = poll_fn(|cx| {
            if uploading {
                match self.request.poll(cx, &mut to) {
                    Poll::Pending if self.request.is_stalled() => lease.stall(),
                    Poll::Pending => lease.flow(),
                    // The callee wants no more of it; why, its response tells.
                    Poll::Ready(Ok(()) | Err(Broken::To(_))) => {
                        uploading = false;
                        lease.flow();
                    }
                    Poll::Ready(Err(Broken::From(error))) => return Poll::Ready(Ending::CallerReset(code(&error))),
                }
            }
            if waiting {
                match self.poll_head(cx, &mut response, tries_left) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(ending)) => return Poll::Ready(ending),
                    Poll::Ready(Ok(())) => {
                        waiting = false;
                        answered();
                    }
                }
            }
            match self.poll_content(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(ending)) => Poll::Ready(ending),
                Poll::Ready(Ok(())) if uploading => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready(Ending::Complete),
            }
        })
        .await;
        match &ending {
            Ending::CallerReset(reason) => {
                lease.count_cancelled();
                to.send_reset(*reason);
            }
            Ending::Unprocessed(Refused::Connection) => lease.retire(),
            _ => {}
        }
        self.count();
        ending
    }

    /// Passes on the response's head, and interim ones before it.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseFuture,
        tries_left: usize,
    ) -> Poll<Result<(), Ending>> {
        let Back::Head(respond) = &mut self.back else { return Poll::Ready(Ok(())) };
        let (mut head, content) = match poll_response(cx, response, respond) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(ending)) => return Poll::Ready(Err(ending)),
            Poll::Ready(Ok(response)) => response,
        };
        let is_unprocessed = head.headers_mut().remove(UNPROCESSED).is_some();
        if is_unprocessed && tries_left > 0 && self.request.can_rewind() {
            return Poll::Ready(Err(Ending::Unprocessed(Refused::Told)));
        }
        self.account.status.set(head.status().as_u16());
        self.account.grpc_status.set(grpc_status(head.headers()));
        self.request.settle();
        let is_empty = content.is_empty();
        Poll::Ready(match respond.send_response(head, is_empty) {
            Ok(_) if is_empty => {
                self.back = Back::Ended;
                Ok(())
            }
            Ok(back) => {
                self.back = Back::Content(content, back);
                Ok(())
            }
            Err(_) => Err(Ending::CallerReset(Reason::CANCEL)),
        })
    }

    /// Passes on the response's content.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let Back::Content(content, back) = &mut self.back else { return Poll::Ready(Ok(())) };
        content.poll(cx, back).map_err(|broken| match broken {
            Broken::To(reason) => Ending::CallerReset(reason.unwrap_or(Reason::CANCEL)),
            Broken::From(error) => of_callee(&error),
        })
    }

    /// Brings the account up to date.
    fn count(&self) {
        self.account.received.set(self.request.bytes());
        if let Back::Content(content, _) = &self.back {
            self.account.sent.set(content.bytes());
            if let Some(status) = content.grpc_status() {
                self.account.grpc_status.set(Some(status));
            }
        }
    }

    /// Goes back to the start, for another attempt. Returns whether that is possible.
    pub(super) fn rewind(&mut self) -> bool {
        matches!(self.back, Back::Head(_)) && self.request.rewind()
    }

    /// Waits until the caller gives up, and returns its reason.
    pub(super) async fn given_up(&mut self) -> Reason {
        poll_fn(|cx| match &mut self.back {
            Back::Head(respond) => respond.poll_reset(cx).map(|reason| reason.unwrap_or(Reason::CANCEL)),
            Back::Content(..) | Back::Ended => Poll::Pending,
        })
        .await
    }

    /// The way back, as long as no response was sent on it.
    pub(super) fn unanswered(&mut self) -> Option<&mut SendResponse<Bytes>> {
        match &mut self.back {
            Back::Head(respond) => Some(respond),
            Back::Content(..) | Back::Ended => None,
        }
    }

    /// Ends what is open of the way back with a reset.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.count();
        match &mut self.back {
            Back::Head(respond) => respond.send_reset(reason),
            Back::Content(_, back) => back.send_reset(reason),
            Back::Ended => {}
        }
    }
}

/// The response that comes, or how the attempt ends without one. Interim responses are passed on.
fn poll_response(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
) -> Poll<Result<(Response<()>, Transfer), Ending>> {
    while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
        // Whoever can't be told has gone, which shows below.
        let _gone = respond.send_informational(interim);
    }
    match Pin::new(response).poll(cx) {
        Poll::Ready(Ok(response)) => {
            let (parts, content) = response.into_parts();
            let head = Response::from_parts(parts, ());
            Poll::Ready(match validate_h2_response(&head) {
                Ok(()) => Ok((head, Transfer::new(content))),
                Err(error) => Err(Ending::Malformed(error.to_string())),
            })
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(of_callee(&error))),
        Poll::Pending => match respond.poll_reset(cx) {
            Poll::Ready(reason) => Poll::Ready(Err(Ending::CallerReset(reason.unwrap_or(Reason::CANCEL)))),
            Poll::Pending => Poll::Pending,
        },
    }
}

/// What the callee's error means. Only its peer says that it processed nothing: by refusing the
/// stream, or by a GOAWAY that doesn't count it, which is the only one that `h2` tells a stream of.
fn of_callee(error: &h2::Error) -> Ending {
    match error.reason() {
        Some(_) if error.is_go_away() && error.is_remote() => Ending::Unprocessed(Refused::Connection),
        Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => Ending::Unprocessed(Refused::Stream),
        Some(reason) if error.is_reset() && error.is_remote() => Ending::CalleeReset(reason),
        _ => Ending::Broken(error.to_string()),
    }
}

/// What the callee is told when the caller's side has ended: a lost connection is a cancellation.
fn code(error: &h2::Error) -> Reason {
    match error.reason() {
        Some(reason) if !error.is_go_away() => reason,
        _ => Reason::CANCEL,
    }
}
