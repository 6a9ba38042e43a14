//! The two ends that bytes are copied between: a program's or an outside socket, or a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::hbone::HboneStream;
use crate::lane::LaneStream;
use crate::tls_stream::TlsStream;

/// One end of a connection that is copied.
pub(crate) enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
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
            Self::Plain(socket) => socket.set_zero_linger(),
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
