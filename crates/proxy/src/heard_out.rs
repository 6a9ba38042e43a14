//! A byte stream whose peer is heard out. Writing to a peer that has gone fails while what it said before it went,
//! often why, still waits to be read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Writing never fails: after it did, what is written is dropped, and reading comes to the end in its place. For those
/// who read whenever they write.
pub(crate) struct HeardOut<S> {
    /// The stream itself.
    pub stream: S,
    broken: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> HeardOut<S> {
    /// Hears out the peer at the other end of `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, broken: None }
    }

    /// As [`AsyncRead`] has it.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, out);
        match self.broken.take_if(|error| read.is_pending() && !is_end_to_be_read(error)) {
            Some(error) => Poll::Ready(Err(error)),
            None => read,
        }
    }

    /// As [`AsyncWrite`] has it: how many of `bytes` are done with.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        if self.broken.is_some() {
            return Poll::Ready(bytes.len());
        }
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Ok(0) if !bytes.is_empty() => self.keep(cx, io::ErrorKind::WriteZero.into()),
            Ok(taken) => return Poll::Ready(taken),
            Err(error) => self.keep(cx, error),
        }
        Poll::Ready(bytes.len())
    }

    /// As [`AsyncWrite`] has it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken.is_none()
            && let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx))
        {
            self.keep(cx, error);
        }
        Poll::Ready(())
    }

    /// What a write found counts when all has been read, which is to be done next.
    fn keep(&mut self, cx: &Context<'_>, error: io::Error) {
        self.broken = Some(error);
        cx.waker().wake_by_ref();
    }
}

/// Whether a write failed because the peer has gone: then reading is sure to come to an end.
pub(crate) fn is_end_to_be_read(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::plain::PlainSocket;

    #[tokio::test]
    async fn last_words_are_read_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = HeardOut::new(PlainSocket::from(listener.accept().await.unwrap().0));
        peer.write_all(b"too many").await.unwrap();
        peer.set_zero_linger().unwrap();
        drop(peer);
        let (mut told, mut bytes) = (Vec::new(), [0; 3]);
        poll_fn(|cx| near.poll_write(cx, b"unheard")).await;
        assert!(near.broken.is_some());
        let end = poll_fn(|cx| {
            loop {
                assert_eq!(near.poll_write(cx, b"more"), Poll::Ready(4));
                assert!(near.poll_flush(cx).is_ready());
                let mut read = ReadBuf::new(&mut bytes);
                match ready!(near.poll_read(cx, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => told.extend_from_slice(read.filled()),
                    end => return Poll::Ready(end),
                }
            }
        })
        .await;
        assert_eq!(told, b"too many");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
