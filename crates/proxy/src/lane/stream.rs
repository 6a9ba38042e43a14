//! One stream of a lane, as a connection: reading, writing, half-close, reset, and the window that
//! makes a slow reader slow its sender and nobody else.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weft_wire::frame::{Event, MAX_DATA_BYTES, WINDOW};

use super::Shared;
use crate::limits::LANE_QUEUE_BYTES;

/// One stream. Its caller speaks first. Dropping it before both sides have ended resets it.
pub(crate) struct LaneStream {
    lane: Rc<Shared>,
    /// Given when it first speaks, so that numbers come to the peer in their order.
    id: Option<u32>,
    slot: Rc<Slot>,
    said_end: bool,
}

/// What a stream and the driver share.
pub(super) struct Slot(RefCell<Inner>);

struct Inner {
    /// What came and wasn't read, of which `used` bytes were.
    input: Vec<u8>,
    used: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// What the peer still takes.
    room: usize,
    /// What the peer may still send.
    allowed: usize,
    ended: bool,
    broken: Option<Rc<io::Error>>,
}

/// The peer sent more than it may, or after its end.
pub(super) struct Excess;

impl Slot {
    pub(super) fn new() -> Self {
        Self(RefCell::new(Inner {
            input: Vec::new(),
            used: 0,
            reader: None,
            writer: None,
            room: WINDOW,
            allowed: WINDOW,
            ended: false,
            broken: None,
        }))
    }

    /// Takes the stream's next bytes.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<(), Excess> {
        let mut inner = self.0.borrow_mut();
        if inner.ended {
            return Err(Excess);
        }
        inner.allowed = inner.allowed.checked_sub(bytes.len()).ok_or(Excess)?;
        inner.input.extend_from_slice(bytes);
        wake(&mut inner.reader);
        Ok(())
    }

    /// The peer takes `more` bytes.
    pub(super) fn grant(&self, more: usize) -> Result<(), Excess> {
        let mut inner = self.0.borrow_mut();
        if inner.room + more > WINDOW {
            return Err(Excess);
        }
        inner.room += more;
        wake(&mut inner.writer);
        Ok(())
    }

    /// The peer has said everything.
    pub(super) fn end(&self) -> Result<(), Excess> {
        let mut inner = self.0.borrow_mut();
        wake(&mut inner.reader);
        if std::mem::replace(&mut inner.ended, true) { Err(Excess) } else { Ok(()) }
    }

    /// The stream is over, abruptly.
    pub(super) fn fail(&self, error: Rc<io::Error>) {
        let mut inner = self.0.borrow_mut();
        inner.broken = Some(error);
        wake(&mut inner.reader);
        wake(&mut inner.writer);
    }
}

impl LaneStream {
    pub(super) fn new(lane: Rc<Shared>) -> Self {
        Self { lane, id: None, slot: Rc::new(Slot::new()), said_end: false }
    }

    /// The stream that the peer has opened as `id`.
    pub(super) fn numbered(mut self, id: u32) -> Self {
        self.lane.number(id, self.slot.clone());
        self.id = Some(id);
        self
    }

    fn say(&mut self, event: Event<'_>) {
        let id = *self.id.get_or_insert_with(|| {
            let id = self.lane.last.get() + 1;
            self.lane.number(id, self.slot.clone());
            id
        });
        self.lane.say(id, event);
    }

    /// Whether nothing has come on a stream on which nothing should, and its lane lives.
    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.slot.0.borrow();
        inner.input.is_empty() && !inner.ended && inner.broken.is_none() && !self.lane.over.get()
    }

    /// Grants the peer what was read, in halves of a window, so that small exchanges seldom do.
    fn grant(&mut self) {
        let mut inner = self.slot.0.borrow_mut();
        let held = inner.input.len() - inner.used;
        let due = WINDOW - inner.allowed - held;
        if due >= WINDOW / 2 && !inner.ended && inner.broken.is_none() {
            inner.allowed += due;
            drop(inner);
            self.say(Event::Window(due));
        }
    }
}

impl AsyncRead for LaneStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut inner = this.slot.0.borrow_mut();
        if inner.used == inner.input.len() {
            return match (inner.ended, &inner.broken) {
                // Whoever has said everything may then give the stream up.
                (true, _) => Poll::Ready(Ok(())),
                (false, Some(error)) => Poll::Ready(Err(again(error))),
                (false, None) => {
                    note(&mut inner.reader, cx);
                    Poll::Pending
                }
            };
        }
        let rest = &inner.input[inner.used..];
        let length = rest.len().min(out.remaining());
        out.put_slice(&rest[..length]);
        inner.used += length;
        if inner.used == inner.input.len() {
            inner.input = Vec::new();
            inner.used = 0;
        }
        drop(inner);
        this.grant();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LaneStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut inner = this.slot.0.borrow_mut();
        if let Some(error) = &inner.broken {
            return Poll::Ready(Err(again(error)));
        }
        if this.said_end || this.lane.over.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.lane.out.borrow().len() >= LANE_QUEUE_BYTES {
            this.lane.crowd.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = &bytes[..bytes.len().min(inner.room)];
        if taken.is_empty() && !bytes.is_empty() {
            note(&mut inner.writer, cx);
            return Poll::Pending;
        }
        inner.room -= taken.len();
        drop(inner);
        taken.chunks(MAX_DATA_BYTES).for_each(|data| this.say(Event::Data(data)));
        Poll::Ready(Ok(taken.len()))
    }

    /// What waits in the lane goes by itself.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says the end; reading goes on.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said_end && this.slot.0.borrow().broken.is_none() {
            this.said_end = true;
            this.say(Event::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for LaneStream {
    fn drop(&mut self) {
        let lane = &self.lane;
        lane.held.set(lane.held.get() - 1);
        let inner = self.slot.0.borrow();
        let is_over = lane.over.get() || inner.broken.is_some() || (self.said_end && inner.ended);
        match self.id {
            Some(id) if !is_over => lane.say(id, Event::Reset),
            _ => lane.wake(),
        }
        if let Some(id) = self.id {
            lane.slots.borrow_mut().remove(&id);
        }
    }
}

/// An error that each stream of a lane is told.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn note(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(known) if known.will_wake(cx.waker()) => {}
        _ => *waker = Some(cx.waker().clone()),
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
