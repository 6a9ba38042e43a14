//! The two ends that bytes are copied between: a program's or an outside socket, or a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hbone::HboneStream;
use crate::lane::LaneStream;
use crate::plain::PlainSocket;
use crate::tls_stream::TlsStream;

/// One end of a connection that is copied.
pub(crate) enum Stream {
    /// Bytes as they are.
    Plain(PlainSocket),
    /// A connection of the mesh protocol's own, after its head.
    Tls(Box<TlsStream>),
    /// A stream of a lane.
    Lane(LaneStream),
    /// A stream of HBONE.
    Hbone(Box<HboneStream>),
}

impl Stream {
    /// Ends the connection abruptly: the peer's kernel sees a reset, which its proxy passes on.
    pub(crate) fn reset(self) {
        // Each fails only when the socket is gone already.
        let _gone = match self {
            Self::Plain(plain) => plain.socket().set_zero_linger(),
            Self::Tls(stream) => stream.socket().set_zero_linger(),
            Self::Lane(stream) => {
                drop(stream);
                Ok(())
            }
            Self::Hbone(stream) => {
                stream.reset();
                Ok(())
            }
        };
    }

    /// Has a program's system told at once that what it sent has come. A program that answers in two writes, and
    /// hasn't asked for `TCP_NODELAY`, sends the second one only then, and on a connection that is used again
    /// Linux puts it off for 40 ms.
    pub(crate) fn acknowledge(&self) {
        if let Self::Plain(plain) = self {
            // It fails only when the socket is gone already.
            let _gone = plain.socket().set_quickack(true);
        }
    }

    /// After a clean end: whether the peer had ended before what was sent last arrived. Its system has
    /// refused those bytes, so that its program never read them; a program that reads them and ends
    /// causes no refusal, and one that aborts no clean end. Known at once of a peer on this machine
    /// (Linux: EPIPE once a reset follows a FIN); `false` is no proof of anything.
    pub(crate) fn had_ended_before(&self) -> bool {
        let Self::Plain(plain) = self else { return false };
        matches!(plain.socket().take_error(), Ok(Some(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, out),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Lane(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Hbone(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Lane(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Hbone(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Lane(stream) => Pin::new(stream).poll_flush(cx),
            Self::Hbone(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Lane(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Hbone(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Stream::Plain(near.into()), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_came_after_the_end_was_not_read() {
        let (mut near, far) = pair().await;
        drop(far);
        near.write_all(b"too late").await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(near.had_ended_before());
    }

    #[tokio::test]
    async fn what_was_read_before_the_end_may_have_been_processed() {
        let (mut near, mut far) = pair().await;
        near.write_all(b"in time").await.unwrap();
        far.read_exact(&mut [0; 7]).await.unwrap();
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(!near.had_ended_before());
    }

    #[tokio::test]
    async fn an_abort_proves_nothing() {
        let (mut near, mut far) = pair().await;
        near.write_all(b"in time").await.unwrap();
        far.read_exact(&mut [0; 7]).await.unwrap();
        far.set_zero_linger().unwrap();
        drop(far);
        assert!(near.read(&mut [0; 8]).await.is_err());
        assert!(!near.had_ended_before());
    }
}
