//! A CONNECT stream as bytes both ways: END_STREAM is the end of a half, RST_STREAM a reset. The
//! peer's window opens only as bytes are taken, so that a slow reader slows the sender.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::Slot;
use crate::limits::PLAIN_BYTES;

/// A stream that both sides have agreed upon. Dropping it before both halves have ended resets it.
pub(crate) struct HboneStream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has arrived and wasn't taken yet.
    unread: Bytes,
    ending: bool,
    /// Its place on a connection that this side made.
    _slot: Option<Slot>,
}

impl HboneStream {
    /// A stream whose CONNECT was answered with 200.
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream, slot: Option<Slot>) -> Self {
        Self { send, receive, unread: Bytes::new(), ending: false, _slot: slot }
    }

    /// Ends both halves abruptly, as RFC 9113, section 8.5, has it. With CANCEL, ztunnel takes what
    /// it has got for all that there was.
    pub(crate) fn reset(mut self) {
        self.send.send_reset(Reason::CONNECT_ERROR);
    }

    /// Whether the peer takes no more; asks to be woken when it says so. `Ok`: it has said all that
    /// it had to, which is still to be read, and what it is sent is in vain (RFC 9113, section 8.1).
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match ready!(self.send.poll_reset(cx)) {
            Ok(Reason::NO_ERROR) => Ok(()),
            Ok(reason) => Err(was_reset(reason)),
            Err(error) => Err(io_error(error)),
        })
    }
}

impl AsyncRead for HboneStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(this.receive.poll_data(cx)) {
                Some(Ok(bytes)) => this.unread = bytes,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.unread.len().min(out.remaining());
        out.put_slice(&this.unread[..length]);
        this.unread.advance(length);
        // Fails only for a stream that has ended, whose window nobody needs.
        let _ended = this.receive.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HboneStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.send.reserve_capacity(bytes.len().min(PLAIN_BYTES));
        // What was given earlier and not used isn't told again.
        let room = match this.send.capacity() {
            0 => match ready!(this.send.poll_capacity(cx)) {
                Some(room) => room.map_err(io_error)?,
                None => return this.poll_reset(cx).map_ok(|()| bytes.len()),
            },
            room => room,
        };
        let taken = &bytes[..bytes.len().min(room)];
        this.send.send_data(Bytes::copy_from_slice(taken), false).map_err(io_error)?;
        Poll::Ready(Ok(taken.len()))
    }

    /// The connection's own task writes. Here a reset is seen that comes while nothing is read.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().poll_reset(cx) {
            Poll::Ready(reset) => Poll::Ready(reset),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending {
            return Poll::Ready(Ok(()));
        }
        this.ending = true;
        match this.send.send_data(Bytes::new(), true) {
            Ok(()) => Poll::Ready(Ok(())),
            // Whoever takes no more needs not be told that there is none.
            Err(error) => match this.poll_reset(cx) {
                Poll::Ready(reset) => Poll::Ready(reset),
                Poll::Pending => Poll::Ready(Err(io_error(error))),
            },
        }
    }
}

fn was_reset(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("the peer has reset the stream: {reason}"))
}

fn io_error(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(reason) if error.is_reset() => was_reset(reason),
        _ => io::Error::new(io::ErrorKind::ConnectionAborted, error),
    }
}
