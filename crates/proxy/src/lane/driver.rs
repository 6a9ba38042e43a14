//! Moves the frames of one lane: what comes to the streams, what they say to the peer. Sending
//! waits until all others that are ready have had their turn, so that what they say goes with it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncWrite, ReadBuf};
use weft_wire::frame::{Event, Frame};

use super::stream::{LaneStream, Slot};
use super::{Lane, Over, Shared};
use crate::heard_out::HeardOut;
use crate::limits::{LANE_BACKLOG_BYTES, LANE_CALLEE_STREAMS};
use crate::side::{PLAIN, Side};
use crate::stream::Stream;

/// Moves frames for as long as it is polled.
pub(crate) struct Driver {
    shared: Rc<Shared>,
    stream: HeardOut<Stream>,
    role: Role,
    /// What was read ahead of the lane.
    first: Option<Vec<u8>>,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// What is being sent, of which `sent` bytes went.
    sending: Vec<u8>,
    sent: usize,
    /// Others had their turn since there was something to send.
    gave_way: bool,
    /// Streams that the peer has opened and nobody has taken.
    opened: VecDeque<LaneStream>,
}

/// Which side this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Opens streams.
    Caller,
    /// Takes them.
    Callee,
}

impl Driver {
    /// The caller's side, with its first stream. `head`, which says that the connection is a lane,
    /// goes before all else.
    pub(crate) fn calling(stream: Stream, head: Vec<u8>) -> (Lane, LaneStream, Self) {
        let driver = Self::new(Side::new(stream), Role::Caller);
        *driver.shared.out.borrow_mut() = head;
        (Lane(driver.shared.clone()), driver.shared.open(), driver)
    }

    /// The callee's side, after the head.
    pub(crate) fn accepting(side: Side) -> Self {
        Self::new(side, Role::Callee)
    }

    fn new(mut side: Side, role: Role) -> Self {
        let (first, stream) = (Some(side.take()), HeardOut::new(side.stream));
        let (shared, partial, sending, opened) = (Rc::default(), Vec::new(), Vec::new(), VecDeque::new());
        Self { shared, stream, role, first, partial, sending, sent: 0, gave_way: false, opened }
    }

    /// Moves frames until the peer opens a stream; `None` when the lane has ended.
    pub(crate) async fn next(&mut self) -> Option<LaneStream> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Moves frames until the lane has ended.
    pub(crate) async fn run(mut self) {
        while self.next().await.is_some() {}
    }

    /// Takes no more streams; the lane ends after those that are held.
    pub(crate) fn retire(&self) {
        self.shared.retired.set(true);
        self.shared.wake();
    }

    /// Whether it takes no more streams.
    pub(crate) fn is_retired(&self) -> bool {
        self.shared.retired.get()
    }

    /// Whether nobody holds a stream.
    pub(crate) fn is_unused(&self) -> bool {
        self.shared.held.get() == 0
    }

    /// The connection, after the lane.
    pub(crate) fn into_side(self) -> Side {
        Side::new(self.stream.stream)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<LaneStream>> {
        if self.shared.over.get() {
            return Poll::Ready(None);
        }
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(Some(stream));
        }
        self.shared.driver.set(Some(cx.waker().clone()));
        match self.poll_move(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(opened))) => Poll::Ready(Some(opened)),
            Poll::Ready(Ok(None)) => {
                self.shared.end(Over::Clean);
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a lane broke");
                self.shared.end(Over::Broken(Rc::new(error)));
                Poll::Ready(None)
            }
        }
    }

    /// Ready with a stream that was opened, or with `None` at the end of the lane.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<LaneStream>>> {
        match self.poll_receive(cx)? {
            Poll::Ready(Some(opened)) => return Poll::Ready(Ok(Some(opened))),
            Poll::Ready(None) => return Poll::Ready(Ok(None)),
            Poll::Pending => {}
        }
        if !self.sending.is_empty() || !self.shared.out.borrow().is_empty() {
            if !std::mem::replace(&mut self.gave_way, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_send(cx));
        }
        self.gave_way = false;
        if self.shared.retired.get() && self.is_unused() {
            // The peer may be gone; there is nothing left to tell it.
            let _gone = ready!(Pin::new(&mut self.stream.stream).poll_shutdown(cx));
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// Reads until a stream is opened; ready with `None` at the peer's end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<LaneStream>>> {
        if let Some(first) = self.first.take() {
            self.hear_all(&first)?;
        }
        while self.opened.is_empty() {
            let read = PLAIN.with_borrow_mut(|plain| {
                let mut read = ReadBuf::new(plain);
                ready!(self.stream.poll_read(cx, &mut read))?;
                Poll::Ready(self.hear_all(read.filled()).map(|()| read.filled().len()))
            });
            if ready!(read)? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
        Poll::Ready(Ok(self.opened.pop_front()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while self.sent < self.sending.len() {
                self.sent += ready!(self.stream.poll_write(cx, &self.sending[self.sent..]));
            }
            self.sent = 0;
            // A lane at rest holds no buffer.
            self.sending = self.shared.out.take();
            self.shared.crowd.take().into_iter().for_each(Waker::wake);
            if self.sending.is_empty() {
                return self.stream.poll_flush(cx);
            }
        }
    }

    fn hear_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.partial.is_empty() {
            let used = self.hear_frames(bytes)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let used = self.hear_frames(&all)?;
        self.partial.extend_from_slice(&all[used..]);
        Ok(())
    }

    /// Returns how many bytes were whole frames.
    fn hear_frames(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while let Some((frame, length)) = Frame::decode(&bytes[used..]).map_err(invalid)? {
            self.hear(frame)?;
            used += length;
        }
        if self.shared.out.borrow().len() > LANE_BACKLOG_BYTES {
            return Err(invalid("the peer asks for more than it reads"));
        }
        Ok(used)
    }

    fn hear(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let known = self.shared.slot(frame.stream);
        let Some(slot) = known.map_or_else(|| self.hear_unknown(frame), |slot| Ok(Some(slot)))? else {
            return Ok(());
        };
        let heard = match frame.event {
            Event::Data(bytes) => slot.put(bytes),
            Event::Window(more) => slot.grant(more),
            Event::End => slot.end(),
            Event::Reset => {
                slot.fail(Rc::new(io::ErrorKind::ConnectionReset.into()));
                self.shared.slots.borrow_mut().remove(&frame.stream);
                Ok(())
            }
        };
        heard.map_err(|_| invalid("the peer says more on a stream than it may"))
    }

    /// A frame of a stream that is not, or no more: `None` when it is to be ignored.
    fn hear_unknown(&mut self, Frame { stream, event }: Frame<'_>) -> io::Result<Option<Rc<Slot>>> {
        if stream <= self.shared.last.get() {
            // It was on its way when the stream was given up here.
            return Ok(None);
        }
        if self.role == Role::Caller || !matches!(event, Event::Data(_) | Event::End) {
            return Err(invalid("the peer speaks of a stream that nobody has opened"));
        }
        if self.shared.retired.get() || self.shared.held.get() >= LANE_CALLEE_STREAMS {
            self.shared.last.set(stream);
            // An end without a byte: nothing was read of it.
            self.shared.say(stream, Event::End);
            return Ok(None);
        }
        self.opened.push_back(self.shared.open().numbered(stream));
        Ok(self.shared.slot(stream))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
