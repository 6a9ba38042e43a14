//! The end of a connection after its last message. Who closes at once while the peer still sends, be it words of the
//! protocol only, makes the kernel reset the connection, and what the peer hasn't got yet is lost.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::limits::LINGER_BYTES;

/// Says the end, then takes what still comes, until the peer ends too.
pub(crate) struct Linger {
    limit: Pin<Box<Sleep>>,
    is_shut: bool,
    taken: usize,
}

impl Linger {
    /// For no longer than this, and for no more than [`LINGER_BYTES`]: then the peer is cut off.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: Box::pin(tokio::time::sleep(limit)), is_shut: false, taken: 0 }
    }

    /// Ready when `io` may be closed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Poll<()> {
        if self.limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.is_shut {
            if ready!(Pin::new(&mut *io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_shut = true;
        }
        let mut bytes = [0; 1024];
        while self.taken <= LINGER_BYTES {
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *io).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => self.taken += read.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
