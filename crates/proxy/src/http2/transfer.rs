//! One direction of a stream: data, then perhaps trailers, with flow control end to end. What the
//! reader takes lets the writer send more; until then no more is held than the writer's window.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use weft_http::bridge::validate_h2_trailers;

use super::head;
use super::held::Held;
use crate::limits::{H2_EAGER_BYTES, H2_REPLAY_BYTES};

/// What goes from one stream to another.
pub(super) struct Transfer {
    from: RecvStream,
    held: Held,
    /// Bytes that were read and not yet granted anew to the sender.
    owed: usize,
    state: State,
    trailers: Option<HeaderMap>,
    grpc_status: Option<u16>,
    kept: Kept,
    /// Bytes that may still be sent without waiting for room.
    eager: usize,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    /// Everything was read.
    Read,
    /// Everything was sent.
    Sent,
}

/// What was sent already and may have to be sent again, elsewhere.
enum Kept {
    All { pieces: Vec<Bytes>, bytes: usize },
    Nothing,
}

/// How a transfer ended before its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream that is read.
    From(h2::Error),
    /// The stream that is written, and the peer's reason if it gave one.
    To(Option<Reason>),
}

impl Transfer {
    /// Passes on what comes on `from`, once.
    pub(super) fn new(from: RecvStream) -> Self {
        let state = if from.is_end_stream() { State::Read } else { State::Data };
        let (held, kept) = (Held::default(), Kept::Nothing);
        Self { from, held, owed: 0, state, trailers: None, grpc_status: None, kept, eager: 0, bytes: 0 }
    }

    /// Passes on what comes on `from`; as long as it is short and [`Transfer::settle`] wasn't
    /// called, it can be sent again.
    pub(super) fn replayable(from: RecvStream) -> Self {
        let kept = Kept::All { pieces: Vec::new(), bytes: 0 };
        Self { kept, eager: H2_EAGER_BYTES, ..Self::new(from) }
    }

    /// Whether there is nothing to send at all: the stream's head says it.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.trailers.is_none() && matches!(self.state, State::Read | State::Sent)
    }

    /// Whether there is something to send for which there is no room.
    pub(super) fn is_stalled(&self) -> bool {
        !self.held.is_empty()
    }

    /// Bytes of data that were read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The status of a gRPC call, when its trailers have come.
    pub(super) fn grpc_status(&self) -> Option<u16> {
        self.grpc_status
    }

    /// What was sent was processed: it won't be needed again.
    pub(super) fn settle(&mut self) {
        self.kept = Kept::Nothing;
    }

    /// Whether what was sent can be sent again.
    pub(super) fn can_rewind(&self) -> bool {
        matches!(self.kept, Kept::All { .. })
    }

    /// Goes back to the start, for another stream. Returns whether that is possible.
    pub(super) fn rewind(&mut self) -> bool {
        let Kept::All { pieces, bytes } = &mut self.kept else { return false };
        self.held.put_back(pieces);
        pieces.clear();
        *bytes = 0;
        self.eager = H2_EAGER_BYTES;
        if self.state == State::Sent {
            self.state = State::Read;
        }
        true
    }

    /// Moves what can be moved.
    ///
    /// # Errors
    /// [`Broken`]: one of the streams has ended otherwise than it should.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, to: &mut SendStream<Bytes>) -> Poll<Result<(), Broken>> {
        loop {
            let read = self.poll_read(cx)?;
            self.send(cx, to)?;
            if self.state == State::Sent {
                return Poll::Ready(Ok(()));
            }
            if read.is_pending() {
                break;
            }
        }
        match to.poll_reset(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(reason) => Poll::Ready(Err(Broken::To(reason.ok()))),
        }
    }

    /// One piece. Reading goes on while nothing can be sent: the sender's window ends it, and
    /// frames that are taken out of `h2` at once don't count as hoarded there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        match self.state {
            State::Data => match self.from.poll_data(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.state = State::Trailers,
                Poll::Ready(Some(Err(error))) => return Err(Broken::From(error)),
                Poll::Ready(Some(Ok(piece))) => {
                    self.bytes += piece.len() as u64;
                    self.owed += piece.len();
                    self.held.push(piece);
                    if self.from.is_end_stream() {
                        self.state = State::Read;
                    }
                }
            },
            State::Trailers => match self.from.poll_trailers(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(error)) => return Err(Broken::From(error)),
                Poll::Ready(Ok(mut trailers)) => {
                    if let Some(trailers) = &mut trailers {
                        head::strip(trailers);
                    }
                    let is_good = trailers.as_ref().is_none_or(|trailers| validate_h2_trailers(trailers).is_ok());
                    if !is_good {
                        return Err(Broken::From(Reason::PROTOCOL_ERROR.into()));
                    }
                    self.grpc_status = trailers.as_ref().and_then(grpc_status);
                    self.trailers = trailers;
                    self.state = State::Read;
                }
            },
            State::Read | State::Sent => return Ok(Poll::Pending),
        }
        Ok(Poll::Ready(()))
    }

    fn send(&mut self, cx: &mut Context<'_>, to: &mut SendStream<Bytes>) -> Result<(), Broken> {
        while !self.held.is_empty() {
            to.reserve_capacity(self.held.len());
            let mut room = to.capacity();
            if room == 0 {
                // A stream has no room before its head has gone; its first data go with the head.
                room = std::mem::take(&mut self.eager);
            }
            if room == 0 {
                match to.poll_capacity(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => return Err(gone(cx, to)),
                }
            }
            let piece = self.held.take(room);
            self.keep(&piece);
            let is_last = self.held.is_empty() && self.state == State::Read && self.trailers.is_none();
            if to.send_data(piece, is_last).is_err() {
                return Err(gone(cx, to));
            }
            if is_last {
                self.state = State::Sent;
            }
            self.grant();
        }
        if self.state == State::Read {
            let trailers = match self.kept {
                Kept::All { .. } => self.trailers.clone(),
                Kept::Nothing => self.trailers.take(),
            };
            let ended = match trailers {
                Some(trailers) => to.send_trailers(trailers),
                None => to.send_data(Bytes::new(), true),
            };
            if ended.is_err() {
                return Err(gone(cx, to));
            }
            self.state = State::Sent;
        }
        Ok(())
    }

    fn keep(&mut self, piece: &Bytes) {
        if let Kept::All { pieces, bytes } = &mut self.kept {
            *bytes += piece.len();
            if *bytes > H2_REPLAY_BYTES {
                self.kept = Kept::Nothing;
            } else {
                pieces.push(piece.clone());
            }
        }
    }

    /// Lets the sender send as much more as was passed on, for the first time.
    fn grant(&mut self) {
        let granted = self.owed.saturating_sub(self.held.len());
        self.owed -= granted;
        if granted > 0 {
            // It was received, so it can be granted.
            let _granted = self.from.flow_control().release_capacity(granted);
        }
    }
}

/// The status that a gRPC call ended with, if these fields say one (gRPC over HTTP/2, Responses).
pub(super) fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn gone(cx: &mut Context<'_>, to: &mut SendStream<Bytes>) -> Broken {
    match to.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Broken::To(Some(reason)),
        _ => Broken::To(None),
    }
}
