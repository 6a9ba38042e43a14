//! A TCP socket that doesn't forget a reset. The system tells of one once: when a write was told, reading finds no fault
//! at the end of what came, though nobody said that it was the end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket whose reading ends only where its peer has ended. (A reset that follows such an end fails a write otherwise:
/// Linux, EPIPE.)
pub(crate) struct PlainSocket {
    socket: TcpStream,
    was_reset: bool,
}

impl PlainSocket {
    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The socket itself.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

impl From<TcpStream> for PlainSocket {
    fn from(socket: TcpStream) -> Self {
        Self { socket, was_reset: false }
    }
}

impl AsyncRead for PlainSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        if self.was_reset && out.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PlainSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes));
        self.was_reset |= matches!(&written, Err(error) if error.kind() == io::ErrorKind::ConnectionReset);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_reset_that_a_write_found_is_no_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = PlainSocket::from(listener.accept().await.unwrap().0);
        peer.write_all(b"abc").await.unwrap();
        peer.set_zero_linger().unwrap();
        drop(peer);
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut told = Vec::new();
        assert_eq!(near.read_to_end(&mut told).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(told, b"abc");
    }

    #[tokio::test]
    async fn an_end_stays_one_though_a_reset_follows() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = PlainSocket::from(listener.accept().await.unwrap().0);
        peer.write_all(b"abc").await.unwrap();
        drop(peer);
        near.write_all(b"is answered by a reset").await.unwrap();
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut told = Vec::new();
        near.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"abc");
    }
}
