//! One stream between its caller and its callee: head, content and trailers both ways, and each
//! side's resets with their codes. Knows neither policy nor endpoints.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Request, Response, StatusCode};
use weft_http::bridge::validate_h2_response;

use super::connection::{Lease, NotSent, Opened};
use super::transfer::{Broken, Transfer, grpc_status};

/// A request's content that came on a stream, and the way back.
pub(super) struct Exchange {
    request: Transfer,
    back: Back,
    status: Option<StatusCode>,
    /// That of a gRPC call whose response is its head alone.
    head_grpc_status: Option<u32>,
}

/// The way back to the caller.
enum Back {
    /// Nothing but interim responses was sent.
    Head(SendResponse<Bytes>),
    /// The head was sent, the content follows.
    Content(Transfer, SendStream<Bytes>),
    /// All was sent with the head.
    Ended,
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
    /// The connection to the callee broke, or what came on it is no response.
    Broken(String),
    /// The callee did nothing with it, and it can be sent again, elsewhere. The reason for which
    /// the callee refused, if it did.
    Unprocessed(Option<Reason>),
}

impl Exchange {
    /// A stream that was opened, its head apart.
    pub(super) fn new((request, respond): Opened) -> (Request<()>, Self) {
        let (parts, content) = request.into_parts();
        let (request, back) = (Transfer::replayable(content), Back::Head(respond));
        let exchange = Self { request, back, status: None, head_grpc_status: None };
        (Request::from_parts(parts, ()), exchange)
    }

    /// Sends the request on the lease's connection and passes everything on until it ends.
    /// `answered` is called when the response's head has come.
    pub(super) async fn attempt(&mut self, head: &Request<()>, lease: &Lease, answered: impl Fn()) -> Ending {
        let (mut response, mut to) = match lease.send(head.clone(), self.request.is_empty()) {
            Ok(sent) => sent,
            Err(NotSent::Closed) => return Ending::Unprocessed(None),
            Err(NotSent::Head(error)) => return Ending::Broken(error),
        };
        let mut uploading = !self.request.is_empty();
        let ending = poll_fn(|cx| {
            let waited = matches!(self.back, Back::Head(_));
            let polled = self.poll(cx, &mut response, (&mut to, &mut uploading));
            if waited && self.status.is_some() {
                answered();
            }
            polled
        })
        .await;
        match &ending {
            Ending::CallerReset(reason) => {
                lease.count_cancelled();
                to.send_reset(*reason);
            }
            Ending::Unprocessed(None) => lease.retire(),
            _ => {}
        }
        ending
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseFuture,
        (to, uploading): (&mut SendStream<Bytes>, &mut bool),
    ) -> Poll<Ending> {
        if *uploading {
            match self.request.poll(cx, to) {
                Poll::Pending => {}
                // The callee wants no more of it; why, its response tells.
                Poll::Ready(Ok(()) | Err(Broken::To(_))) => *uploading = false,
                Poll::Ready(Err(Broken::From(error))) => return Poll::Ready(Ending::CallerReset(code(&error))),
            }
        }
        if let Back::Head(respond) = &mut self.back {
            match poll_head(cx, response, respond) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(Answered::Caller(reason))) => return Poll::Ready(Ending::CallerReset(reason)),
                Poll::Ready(Err(Answered::Callee(error))) => return Poll::Ready(self.refused(&error)),
                Poll::Ready(Err(Answered::Malformed(error))) => return Poll::Ready(Ending::Broken(error)),
                Poll::Ready(Ok((head, content))) => {
                    self.status = Some(head.status());
                    self.head_grpc_status = grpc_status(head.headers());
                    self.request.settle();
                    let is_empty = content.is_empty();
                    match respond.send_response(head, is_empty) {
                        Ok(_) if is_empty => self.back = Back::Ended,
                        Ok(back) => self.back = Back::Content(content, back),
                        Err(_) => return Poll::Ready(Ending::CallerReset(Reason::CANCEL)),
                    }
                }
            }
        }
        if let Back::Content(content, back) = &mut self.back {
            match content.poll(cx, back) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Broken::To(reason))) => {
                    return Poll::Ready(Ending::CallerReset(reason.unwrap_or(Reason::CANCEL)));
                }
                Poll::Ready(Err(Broken::From(error))) => return Poll::Ready(broken(&error)),
            }
        }
        if *uploading { Poll::Pending } else { Poll::Ready(Ending::Complete) }
    }

    /// What an error instead of a response means.
    fn refused(&self, error: &h2::Error) -> Ending {
        let went_away = error.is_go_away() && error.is_remote();
        let is_refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        if went_away || is_refused { Ending::Unprocessed(error.reason().filter(|_| is_refused)) } else { broken(error) }
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
        match &mut self.back {
            Back::Head(respond) => respond.send_reset(reason),
            Back::Content(_, back) => back.send_reset(reason),
            Back::Ended => {}
        }
    }

    /// The status of a gRPC call, once it came.
    pub(super) fn grpc_status(&self) -> Option<u32> {
        match &self.back {
            Back::Content(content, _) => content.grpc_status().or(self.head_grpc_status),
            Back::Head(_) | Back::Ended => self.head_grpc_status,
        }
    }

    /// The response's status, once it came.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Bytes of both contents so far, the request's first.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let response = match &self.back {
            Back::Content(content, _) => content.bytes(),
            Back::Head(_) | Back::Ended => 0,
        };
        (self.request.bytes(), response)
    }
}

enum Answered {
    Caller(Reason),
    Callee(h2::Error),
    Malformed(String),
}

/// The response's head; interim ones are passed on meanwhile.
fn poll_head(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
) -> Poll<Result<(Response<()>, Transfer), Answered>> {
    while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        let Ok(interim) = interim else { break };
        // Whoever can't be told has gone, which shows below.
        let _gone = respond.send_informational(interim);
    }
    match Pin::new(response).poll(cx) {
        Poll::Ready(Ok(response)) => {
            let (parts, content) = response.into_parts();
            let head = Response::from_parts(parts, ());
            let checked = validate_h2_response(&head);
            Poll::Ready(checked.map(|()| (head, Transfer::new(content))).map_err(|e| Answered::Malformed(e.to_string())))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(Answered::Callee(error))),
        Poll::Pending => match respond.poll_reset(cx) {
            Poll::Ready(reason) => Poll::Ready(Err(Answered::Caller(reason.unwrap_or(Reason::CANCEL)))),
            Poll::Pending => Poll::Pending,
        },
    }
}

/// A reset is passed on with its code. All else is the connection's end.
fn broken(error: &h2::Error) -> Ending {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => Ending::CalleeReset(reason),
        _ => Ending::Broken(error.to_string()),
    }
}

/// What the callee is told when the caller's side has ended: a lost connection is a cancellation.
fn code(error: &h2::Error) -> Reason {
    match error.reason() {
        Some(reason) if error.is_reset() => reason,
        Some(Reason::PROTOCOL_ERROR) if !error.is_go_away() => Reason::PROTOCOL_ERROR,
        _ => Reason::CANCEL,
    }
}
