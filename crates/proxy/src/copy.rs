//! Bytes both ways until both sides have ended, as the two programs would see them without a
//! proxy: each half closes for itself, and a slow reader slows the sender, for no more than one
//! scratch buffer's worth is ever held for a direction. What is held at all is what a socket didn't
//! take; a connection at rest holds nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::heard_out::is_end_to_be_read;
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
        let sent = sending.poll(cx, caller, callee, |n| meter.from_caller(n)).map_err(of(End::Caller))?;
        let received = receiving.poll(cx, callee, caller, |n| meter.from_callee(n)).map_err(of(End::Callee))?;
        sending.check_sink(&receiving).map_err(of(End::Callee))?;
        receiving.check_sink(&sending).map_err(of(End::Caller))?;
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
    /// The writing side takes no more just now.
    full: bool,
    /// How the writing side broke.
    deaf: Option<io::Error>,
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
    /// Passes on until the source has ended, or the sink broke.
    ///
    /// # Errors
    /// The source's.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        count: impl Fn(u64),
    ) -> Poll<io::Result<()>> {
        if self.deaf.is_some() {
            return Poll::Pending;
        }
        while self.state != State::Ended {
            // Nothing is read before everything went: that is the back-pressure.
            let sent = self.poll_send_held(cx, to);
            self.full = sent.is_pending();
            ready!(self.unless_deaf(sent));
            if self.state == State::Ending {
                let ended = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.state = State::Ended;
                ready!(self.unless_deaf(Poll::Ready(already_gone(ended))));
            } else if ready!(self.poll_move(cx, from, to, &count))? == 0 {
                self.state = State::Ending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What the sink came to; that it broke is kept, and nothing more is passed on to it.
    fn unless_deaf<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<T> {
        ready!(result).map_or_else(
            |error| {
                self.deaf = Some(error);
                Poll::Pending
            },
            Poll::Ready,
        )
    }

    /// How the sink broke, after what it said before, often why, has gone `back` as far as it is taken.
    fn check_sink(&mut self, back: &Self) -> io::Result<()> {
        let is_heard = back.state != State::Open || back.full || back.deaf.is_some();
        self.deaf.take_if(|error| is_heard || !is_end_to_be_read(error)).map_or(Ok(()), Err)
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

    /// One read, and one write of what came. Returns how much that was.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        count: impl Fn(u64),
    ) -> Poll<io::Result<usize>> {
        PLAIN.with_borrow_mut(|plain| {
            let bytes = ready!(poll_read(cx, from, plain))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            count(bytes.len() as u64);
            let taken = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Pending => 0,
                written => ready!(self.unless_deaf(written)),
            };
            self.held.extend_from_slice(&bytes[taken..]);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}

fn of(end: End) -> impl Fn(io::Error) -> (End, io::Error) {
    move |error| (end, error)
}

/// A socket whose peer has gone can't be told that its half ends; that is no failure.
fn already_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, Side) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (program, Side::plain(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn what_a_callee_said_before_it_went_reaches_its_caller() {
        let ((mut caller, mut from_caller), (mut callee, mut to_callee)) = (pair().await, pair().await);
        caller.write_all(b"may I?").await.unwrap();
        callee.write_all(b"too many clients").await.unwrap();
        callee.set_zero_linger().unwrap();
        drop(callee);
        from_caller.fill().await.unwrap();
        let broken = copy(&mut from_caller, &mut to_callee, &Meter::detached()).await.unwrap_err();
        assert_eq!((broken.end, broken.other_had_ended), (End::Callee, false));
        from_caller.stream.reset();
        let mut told = [0; 16];
        caller.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"too many clients");
        assert_eq!(caller.read(&mut told).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
