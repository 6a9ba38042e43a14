//! Bytes both ways until both sides have ended, as the two programs would see them without a
//! proxy: each half closes for itself, and a slow reader slows the sender, for no more than one
//! scratch buffer's worth is ever held for a direction. What is held at all is what a socket didn't
//! take; a connection at rest holds nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::metrics::Meter;
use crate::side::{PLAIN, Side, poll_read};
use crate::stream::Stream;

/// Which of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that called.
    Caller,
    /// The one that was called.
    Callee,
}

/// One end broke.
#[derive(Debug, thiserror::Error)]
#[error("{end:?} broke: {error}")]
pub(crate) struct Broken {
    /// Which.
    pub end: End,
    /// Whether the other one had closed its half before.
    pub other_had_ended: bool,
    /// How.
    pub error: io::Error,
}

/// Copies until both ends have closed their halves, beginning with what was read ahead. Bytes are
/// counted as they pass.
///
/// # Errors
/// [`Broken`]: one end was reset, or ended without saying so. Both should be reset then.
pub(crate) async fn copy(caller: &mut Side, callee: &mut Side, meter: &Meter) -> Result<(), Broken> {
    let mut sending = Direction::from(caller.take());
    let mut receiving = Direction::from(callee.take());
    meter.from_caller(sending.held.len() as u64);
    meter.from_callee(receiving.held.len() as u64);
    let (caller, callee) = (&mut caller.stream, &mut callee.stream);
    std::future::poll_fn(|cx| {
        let sent = sending.poll(cx, (caller, End::Caller), (callee, End::Callee), |n| meter.from_caller(n))?;
        let received = receiving.poll(cx, (callee, End::Callee), (caller, End::Caller), |n| meter.from_callee(n))?;
        if sent.is_ready() && received.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
    .map_err(|(end, error)| {
        let other = if end == End::Caller { &receiving } else { &sending };
        Broken { end, other_had_ended: other.state != State::Open, error }
    })
}

/// One direction of a copy.
#[derive(Default)]
struct Direction {
    /// What was read and not yet taken, of which `taken` bytes are.
    held: Vec<u8>,
    taken: usize,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The reading side has ended, the writing side is to be told.
    Ending,
    Ended,
}

impl From<Vec<u8>> for Direction {
    fn from(held: Vec<u8>) -> Self {
        Self { held, ..Self::default() }
    }
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, source): (&mut Stream, End),
        (to, sink): (&mut Stream, End),
        count: impl Fn(u64),
    ) -> Result<Poll<()>, (End, io::Error)> {
        let from_broke = |error| (source, error);
        let to_broke = |error| (sink, error);
        loop {
            if self.state == State::Ended {
                return Ok(Poll::Ready(()));
            }
            // Nothing is read before everything went: that is the back-pressure.
            if self.poll_send_held(cx, to).map_err(to_broke)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if self.state == State::Ending {
                return match Pin::new(&mut *to).poll_shutdown(cx) {
                    Poll::Pending => Ok(Poll::Pending),
                    Poll::Ready(ended) => {
                        self.state = State::Ended;
                        already_gone(ended).map_err(to_broke).map(Poll::Ready)
                    }
                };
            }
            match self.poll_move(cx, from, to, &count) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Moved::Some) => {}
                Poll::Ready(Moved::End) => self.state = State::Ending,
                Poll::Ready(Moved::FromBroke(error)) => return Err(from_broke(error)),
                Poll::Ready(Moved::ToBroke(error)) => return Err(to_broke(error)),
            }
        }
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.taken < self.held.len() {
            self.taken += ready!(Pin::new(&mut *to).poll_write(cx, &self.held[self.taken..]))?;
        }
        if self.taken > 0 {
            self.held = Vec::new();
            self.taken = 0;
        }
        Pin::new(to).poll_flush(cx)
    }

    /// One read, and one write of what came.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        count: impl Fn(u64),
    ) -> Poll<Moved> {
        PLAIN.with_borrow_mut(|plain| {
            let bytes = match ready!(poll_read(cx, from, plain)) {
                Ok(bytes) => bytes,
                Err(error) => return Poll::Ready(Moved::FromBroke(error)),
            };
            if bytes.is_empty() {
                return Poll::Ready(Moved::End);
            }
            count(bytes.len() as u64);
            let taken = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(error)) => return Poll::Ready(Moved::ToBroke(error)),
                Poll::Pending => 0,
            };
            self.held.extend_from_slice(&bytes[taken..]);
            Poll::Ready(Moved::Some)
        })
    }
}

enum Moved {
    Some,
    End,
    FromBroke(io::Error),
    ToBroke(io::Error),
}

/// A socket whose peer has gone can't be told that its half ends; that is no failure.
fn already_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}
