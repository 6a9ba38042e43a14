//! The byte stream under `h2`. Whatever `h2` writes in one turn, frame by frame, goes out in one
//! write: one TLS record where it fits, one system call. Knows no frames.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::heard_out::HeardOut;
use crate::limits::{H2_LINGER, PLAIN_BYTES};
use crate::linger::Linger;
use crate::side::Side;

/// The end that `h2` reads and writes. Its flush does nothing: see [`Outlet::poll_send`].
pub(super) struct Batched(Rc<RefCell<Inner>>);

/// The end of whoever drives the connection.
pub(super) struct Outlet(Rc<RefCell<Inner>>);

struct Inner {
    side: HeardOut<Side>,
    /// What waits to be sent, of which `sent` bytes went.
    out: Vec<u8>,
    sent: usize,
    broken: Cell<Option<io::Error>>,
    end: Option<Linger>,
}

/// Wraps `side`, to which `first` is to be written first.
pub(super) fn batched(side: Side, first: Vec<u8>) -> (Batched, Outlet) {
    let inner = Inner { side: HeardOut::new(side), out: first, sent: 0, broken: Cell::new(None), end: None };
    let inner = Rc::new(RefCell::new(inner));
    (Batched(inner.clone()), Outlet(inner))
}

impl Outlet {
    /// Sends what was written. To be called at the end of each turn in which `h2` may have written,
    /// with the context of the task that polls it. Reading tells when the peer takes no more.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().poll_send(cx)
    }

    /// How the stream broke, in its own words, which `h2` shortens. Once only.
    pub(super) fn take_broken(&self) -> Option<io::Error> {
        self.0.borrow().broken.take()
    }
}

impl Inner {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sent < self.out.len() {
            self.sent += ready!(self.side.poll_write(cx, &self.out[self.sent..]));
        }
        if self.sent > 0 {
            give_back(std::mem::take(&mut self.out));
            self.sent = 0;
        }
        self.side.poll_flush(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.side.poll_read(cx, out));
        Poll::Ready(read.map_err(|error| {
            let kind = error.kind();
            self.broken.set(Some(error));
            kind.into()
        }))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        if self.out.len() >= PLAIN_BYTES {
            ready!(self.poll_send(cx));
        }
        if self.out.capacity() == 0 {
            self.out = borrow();
        }
        let taken = bytes.len().min(PLAIN_BYTES - self.out.len());
        self.out.extend_from_slice(&bytes[..taken]);
        Poll::Ready(taken)
    }
}

impl AsyncRead for Batched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, out)
    }
}

impl AsyncWrite for Batched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bytes).map(Ok)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(cx));
        let Inner { side, end, .. } = &mut *inner;
        end.get_or_insert_with(|| Linger::new(H2_LINGER)).poll(cx, &mut side.stream).map(Ok)
    }
}

thread_local! {
    /// A buffer that connections use in turn: what is written is sent within the same turn, unless
    /// the socket is full. So a connection at rest holds none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn borrow() -> Vec<u8> {
    let spare = SPARE.take();
    if spare.capacity() == 0 { Vec::with_capacity(PLAIN_BYTES) } else { spare }
}

fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() >= PLAIN_BYTES {
        buffer.clear();
        SPARE.set(buffer);
    }
}
