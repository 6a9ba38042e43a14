//! One side of a connection: its stream, what was read ahead of it, and what it didn't take yet.
//! Knows no protocol. A side at rest holds no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::COPY_BYTES;
use crate::stream::Stream;

/// A stream, bytes of it that were read and not yet used, and bytes that it is still to take.
/// Reading it as [`AsyncRead`] gives what was read ahead first; writing it as [`AsyncWrite`] is for
/// those who don't use [`Self::send_now`].
pub(crate) struct Side {
    /// The stream.
    pub stream: Stream,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    sent: usize,
}

impl Side {
    /// A side of which nothing was read yet.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, input: Vec::new(), used: 0, output: Vec::new(), sent: 0 }
    }

    /// A plain socket's side.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self::new(Stream::Plain(socket.into()))
    }

    /// What was read and not yet used.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// Takes note that the first `length` bytes were used.
    pub(crate) fn consume(&mut self, length: usize) {
        self.used += length;
        if self.used >= self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// All that was read and not yet used; the side holds nothing any more.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(&mut self.input);
        taken.drain(..std::mem::take(&mut self.used));
        taken
    }

    /// Puts bytes behind those that were read.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Reads once, up to [`COPY_BYTES`]; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        PLAIN.with_borrow_mut(|plain| {
            let polled = poll_read(cx, &mut self.stream, plain);
            if polled.is_pending() && self.bytes().is_empty() {
                self.input = Vec::new();
            }
            let read = ready!(polled)?;
            self.keep(read);
            Poll::Ready(Ok(read.len()))
        })
    }

    /// One write of `bytes`; what the stream doesn't take is kept for [`Self::poll_send`], which
    /// must have been ready before.
    ///
    /// # Errors
    /// The stream's; it took none of `bytes` then.
    pub(crate) fn send_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let taken = match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        self.output.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Sends what was kept. Nothing more is read for this side before it went: that is the
    /// back-pressure.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]))?;
        }
        if self.sent > 0 {
            self.output = Vec::new();
            self.sent = 0;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// As [`Self::poll_fill`].
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }
}

impl AsyncRead for Side {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bytes().is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, out);
        }
        let length = this.bytes().len().min(out.remaining());
        out.put_slice(&this.bytes()[..length]);
        this.consume(length);
        if this.bytes().is_empty() {
            this.input = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Side {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// One read of `stream` into [`PLAIN`]; nothing is the end.
pub(crate) fn poll_read<'p>(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    plain: &'p mut [u8],
) -> Poll<io::Result<&'p [u8]>> {
    // More than whole records of what a program sent would cost a short record more.
    let room = if matches!(stream, Stream::Plain(_)) { &mut plain[..COPY_BYTES] } else { plain };
    let mut read = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    let length = read.filled().len();
    Poll::Ready(Ok(&room[..length]))
}

thread_local! {
    /// Where plaintext passes. Nothing stays here between two turns. The last byte is for what follows
    /// the content in the last of many records.
    pub(crate) static PLAIN: RefCell<Box<[u8]>> = RefCell::new(vec![0; COPY_BYTES + 1].into_boxed_slice());
}
