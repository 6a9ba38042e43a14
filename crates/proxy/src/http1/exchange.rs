//! One exchange: a request to a server and its answer to a client, both at once, with no more held
//! than one read's worth each way. Knows who must be told what, not who they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::time::Instant;
use weft_http::body::BodyReader;
use weft_http::head::{Asked, Framing, HeadParser, Persistence};
use weft_http::rewrite::Hop;

use super::pass::{Passage, Passing, Stop, pass};
use super::transfer::{BodyFault, poll_body};
use crate::drain::Drain;
use crate::request::Request;
use crate::side::{PLAIN, Side, poll_read};
use crate::tunnel::Used;
use crate::tunnel::dial::refusal;
use crate::why::{Cause, Failure, Hop as Where};

/// One exchange under way.
pub(super) struct Exchange<'x> {
    /// Who asks; the rest of its request's body comes from there.
    pub client: &'x mut Side,
    /// Who answers.
    pub server: &'x mut Side,
    /// The account.
    pub request: &'x Request,
    /// What is sent first, in one write: heads, and what of the body was at hand.
    pub message: &'x [u8],
    /// Reads the rest of the body.
    pub body: BodyReader,
    /// What was asked.
    pub asked: Asked,
    /// Who the server is.
    pub callee: Callee,
    /// For a client that is a program: when the proxy ends, answers say that the connection does.
    pub drain: Option<&'x Drain>,
    /// Reads answers' heads.
    pub parser: &'x mut HeadParser,
    /// How far it is; begins as [`Progress::default`].
    pub progress: Progress,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callee {
    /// A program, on a connection of this kind.
    Program(Used),
    /// The callee's proxy.
    Proxy(Used),
}

/// How far an exchange is.
#[derive(Default)]
pub(super) struct Progress {
    message_sent: bool,
    /// More of the body went than was at hand at first: it can't be sent again.
    more_sent: bool,
    /// The server takes no more of the request.
    server_deaf: Option<io::Error>,
    client: Client,
    answer: Answer,
    /// When the answer's head had come.
    pub answered: Option<Instant>,
    persistence: Option<Persistence>,
    acknowledged: bool,
}

/// How far the client's end has got, when it ends its half before it has its answer.
#[derive(Default, PartialEq)]
enum Client {
    #[default]
    Open,
    /// The server is still to be told.
    Ended,
    Told,
}

/// How much of the answer went.
#[derive(Default)]
pub(super) enum Answer {
    #[default]
    Awaited,
    Body(BodyReader, Framing),
    Over(Framing),
    Switched,
}

/// How an exchange ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// Whether the client's side can carry another one.
    pub client: Next,
    /// Whether the server's side can, as far as framing tells.
    pub server: Next,
    /// What the answer says of the connection.
    pub persistence: Persistence,
}

/// What becomes of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another message.
    Message,
    /// Bytes of another protocol, both ways.
    Bytes,
    /// Its end.
    End,
}

/// How an exchange failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// Why.
    pub failure: Failure,
    /// What was done before.
    pub reached: Reached,
}

/// What was done before an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nothing was processed, provably, and everything can be sent again.
    Nothing,
    /// The client got no answer.
    NoAnswer,
    /// The client got a part of an answer: only an abrupt end tells it.
    Answer,
}

impl Exchange<'_> {
    /// Runs the exchange to its end.
    ///
    /// # Errors
    /// [`Fault`]: the server's side is of no use any more.
    pub(super) async fn run(&mut self) -> Result<Done, Fault> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Fault>> {
        let sent = self.poll_request(cx)?;
        if self.poll_answer(cx)?.is_pending() {
            self.acknowledge();
            return Poll::Pending;
        }
        match self.progress.answer {
            Answer::Switched if sent.is_ready() => Poll::Ready(Ok(self.done(Next::Bytes, Next::Bytes))),
            Answer::Switched => Poll::Pending,
            Answer::Over(Framing::UntilClose) => Poll::Ready(Ok(self.done(Next::End, Next::End))),
            Answer::Over(_) if self.progress.client != Client::Open => Poll::Ready(Ok(self.done(Next::End, Next::End))),
            Answer::Over(_) if sent.is_ready() && self.progress.server_deaf.is_none() => {
                Poll::Ready(Ok(self.done(Next::Message, Next::Message)))
            }
            // The rest of the request would be thrown away.
            Answer::Over(_) if self.progress.server_deaf.is_some() || self.closes() => {
                Poll::Ready(Ok(self.done(Next::End, Next::End)))
            }
            // A server that has answered may still take the rest, or end.
            _ => self.poll_deaf(cx),
        }
    }

    fn closes(&self) -> bool {
        self.progress.persistence == Some(Persistence::Close)
    }

    fn done(&self, client: Next, server: Next) -> Done {
        Done { client, server, persistence: self.progress.persistence.unwrap_or(Persistence::Close) }
    }

    fn poll_deaf(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Fault>> {
        if self.server.bytes().is_empty() && self.server.poll_fill(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.done(Next::End, Next::End)))
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if !self.progress.message_sent {
            self.progress.message_sent = true;
            if let Err(error) = self.server.send_now(cx, self.message) {
                return Poll::Ready(Err(self.never_sent(&error)));
            }
        }
        if self.progress.server_deaf.is_none() {
            let before = self.request.received.get();
            let polled = poll_body(cx, &mut self.body, (self.client, self.server), &self.request.received);
            self.progress.more_sent |= self.request.received.get() > before;
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                // It may have answered before it stopped listening.
                Poll::Ready(Err(BodyFault::To(error))) => self.progress.server_deaf = Some(error),
                Poll::Ready(Err(BodyFault::From(error))) => return Poll::Ready(Err(self.client_gone(&error))),
                Poll::Ready(Err(BodyFault::Framing(error))) => {
                    let (hop, cause) = (Where::Caller, Cause::BadRequest);
                    return Poll::Ready(Err(self.fault(Failure { hop, cause, detail: error.to_string() })));
                }
            }
        }
        self.watch_client(cx).map_or(Poll::Ready(Ok(())), |fault| Poll::Ready(Err(fault)))
    }

    /// Notices a client that ends or breaks while it waits. One that has ended may have gone, or wait on
    /// for its answer: the server is told, and does what it does with such a client.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Option<Fault> {
        if self.progress.client == Client::Open && self.client.bytes().is_empty() {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.progress.client = Client::Ended,
                Poll::Ready(Err(error)) => return Some(self.client_gone(&error)),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        // Whether it can still be told its answer shows.
        if self.progress.client == Client::Ended && Pin::new(&mut self.server.stream).poll_shutdown(cx).is_ready() {
            self.progress.client = Client::Told;
        }
        None
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            match &mut self.progress.answer {
                Answer::Awaited => ready!(self.poll_head(cx))?,
                Answer::Body(body, framing) => {
                    let framing = *framing;
                    match ready!(poll_body(cx, body, (self.server, self.client), &self.request.sent)) {
                        Ok(()) => self.progress.answer = Answer::Over(framing),
                        Err(BodyFault::To(error)) => return Poll::Ready(Err(self.client_gone(&error))),
                        Err(BodyFault::From(error)) => return Poll::Ready(Err(self.cut_short(&error))),
                        Err(BodyFault::Framing(error)) => {
                            return Poll::Ready(Err(self.bad_answer(error.to_string())));
                        }
                    }
                }
                Answer::Over(_) | Answer::Switched => {
                    return self.client.poll_send(cx).map_err(|error| self.client_gone(&error));
                }
            }
        }
    }

    /// One head of an answer, and what of its body is at hand, in one write.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        ready!(self.client.poll_send(cx)).map_err(|error| self.client_gone(&error))?;
        loop {
            let at_hand = self.server.take();
            let used = if at_hand.is_empty() { 0 } else { self.pass_head(cx, &at_hand)? };
            self.server.keep(&at_hand[used..]);
            if used > 0 || ready!(self.poll_first(cx))? > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once. What comes first is passed on from where it was read, as [`Self::pass_head`] does;
    /// what follows something is kept.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let at_hand = self.server.bytes().len();
        PLAIN.with_borrow_mut(|plain| {
            let read = match ready!(poll_read(cx, &mut self.server.stream, plain)) {
                Ok([]) => return Poll::Ready(Err(self.no_answer(at_hand, None))),
                Err(error) => return Poll::Ready(Err(self.no_answer(at_hand, Some(&error)))),
                Ok(read) => read,
            };
            let used = if at_hand == 0 { self.pass_head(cx, read)? } else { 0 };
            self.server.keep(&read[used..]);
            Poll::Ready(Ok(used))
        })
    }

    /// Passes on the head that `bytes` begin with, and what of its body they hold. Returns how many
    /// bytes that was; 0 while the head isn't whole.
    fn pass_head(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<usize, Fault> {
        let mut parser = std::mem::take(self.parser);
        let passed = self.pass_parsed(cx, bytes, &mut parser);
        *self.parser = parser;
        passed
    }

    fn pass_parsed(&mut self, cx: &mut Context<'_>, bytes: &[u8], parser: &mut HeadParser) -> Result<usize, Fault> {
        let (asked, draining) = (self.asked.persistence, self.drain.is_some_and(Drain::is_draining));
        let passed = match parser.response(bytes, self.asked) {
            Ok(None) => return Ok(0),
            Err(error) => Err(Stop::Bad(error.to_string())),
            Ok(Some(head)) => pass(
                cx,
                &head,
                bytes,
                &mut Passing {
                    client: self.client,
                    request: self.request,
                    asked: self.asked,
                    callee: self.callee,
                    hop: if draining || closes_alone(asked, head.persistence) { Hop::Close } else { Hop::Keep },
                },
            ),
        };
        match passed {
            Ok(Passage { used, persistence, answer }) => {
                if !matches!(answer, Answer::Awaited) {
                    self.progress.answered = Some(Instant::now());
                    self.progress.persistence = Some(persistence);
                }
                self.progress.answer = answer;
                Ok(used)
            }
            Err(Stop::Bad(detail)) => Err(self.bad_answer(detail)),
            Err(Stop::ClientGone(error)) => Err(self.client_gone(&error)),
            Err(Stop::Unprocessed(failure)) => Err(Fault { failure, reached: self.nothing_processed() }),
        }
    }

    /// Once for each answer whose rest is awaited: from then on the system acknowledges what is read.
    fn acknowledge(&mut self) {
        let awaits_rest = matches!(self.progress.answer, Answer::Body(..)) || !self.server.bytes().is_empty();
        if awaits_rest && !self.progress.acknowledged {
            self.progress.acknowledged = true;
            self.server.stream.acknowledge();
        }
    }

    fn nothing_processed(&self) -> Reached {
        if self.progress.more_sent { Reached::NoAnswer } else { Reached::Nothing }
    }

    fn fault(&self, failure: Failure) -> Fault {
        let begun = !matches!(self.progress.answer, Answer::Awaited);
        Fault { failure, reached: if begun { Reached::Answer } else { Reached::NoAnswer } }
    }

    fn client_gone(&self, error: &io::Error) -> Fault {
        let failure = Failure { hop: Where::Caller, cause: Cause::Reset, detail: error.to_string() };
        Fault { failure, reached: Reached::Answer }
    }

    /// The server's side broke before it took anything.
    fn never_sent(&self, error: &io::Error) -> Fault {
        let cause = if self.is_used_again() { Cause::IdleRace } else { Cause::Connect };
        let failure = Failure { hop: self.callee.place(), cause, detail: error.to_string() };
        Fault { failure, reached: Reached::Nothing }
    }

    fn no_answer(&self, at_hand: usize, error: Option<&io::Error>) -> Fault {
        if let (Callee::Proxy(_), Some(failure)) = (self.callee, error.and_then(refusal)) {
            return Fault { failure, reached: self.nothing_processed() };
        }
        let cause = if self.is_used_again() { Cause::IdleRace } else { Cause::Reset };
        let error = self.progress.server_deaf.as_ref().or(error);
        let detail = error.map_or("ended without an answer".to_owned(), ToString::to_string);
        let mut fault = self.fault(Failure { hop: self.callee.place(), cause, detail });
        let is_clean = error.is_none() && at_hand == 0;
        if is_clean && (matches!(self.callee, Callee::Proxy(_)) || self.server.stream.had_ended_before()) {
            fault.reached = self.nothing_processed();
        }
        fault
    }

    fn is_used_again(&self) -> bool {
        matches!(self.callee, Callee::Program(Used::Again) | Callee::Proxy(Used::Again))
    }

    fn cut_short(&self, error: &io::Error) -> Fault {
        let detail = format!("the answer was cut short: {error}");
        self.fault(Failure { hop: self.callee.place(), cause: Cause::Reset, detail })
    }

    fn bad_answer(&self, detail: String) -> Fault {
        self.fault(Failure { hop: self.callee.place(), cause: Cause::BadResponse, detail })
    }
}

/// Whether the client's connection closes, as it has said, and the server's doesn't.
fn closes_alone(client: Persistence, server: Persistence) -> bool {
    client == Persistence::Close && server == Persistence::KeepAlive
}

impl Callee {
    fn place(self) -> Where {
        match self {
            Self::Program(_) => Where::Callee,
            Self::Proxy(_) => Where::CalleeProxy,
        }
    }
}
