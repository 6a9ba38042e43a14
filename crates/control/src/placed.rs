//! A connection together with its place among those that there may be, for the gRPC server, which
//! drops both at once. Knows nothing of who the caller is.

use std::hash::Hash;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::crowd::Place;

/// A connection that counts.
pub(crate) struct Placed<S, K: Copy + Eq + Hash> {
    stream: S,
    _place: Place<K>,
}

impl<S, K: Copy + Eq + Hash> Placed<S, K> {
    pub(crate) fn new(stream: S, place: Place<K>) -> Self {
        Self { stream, _place: place }
    }
}

impl<S, K: Copy + Eq + Hash> Connected for Placed<S, K> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<S: AsyncRead + Unpin, K: Copy + Eq + Hash + Unpin> AsyncRead for Placed<S, K> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin, K: Copy + Eq + Hash + Unpin> AsyncWrite for Placed<S, K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
