//! TLS below HTTP/2, with what `h2` would forget: why TLS ended. In TLS 1.3 a server's refusal of
//! our certificate arrives only when its first byte is read, which is HTTP/2's to do.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls_stream::TlsStream;

/// Why TLS ended, if it did.
pub(super) type Ending = Rc<RefCell<Option<rustls::Error>>>;

/// A connection whose TLS failure is kept.
pub(super) struct Watched {
    tunnel: Box<TlsStream>,
    ending: Ending,
}

impl Watched {
    /// Watches `tunnel`.
    pub(super) fn new(tunnel: Box<TlsStream>) -> (Self, Ending) {
        let ending = Ending::default();
        (Self { tunnel, ending: ending.clone() }, ending)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tunnel).poll_read(cx, out);
        if let Poll::Ready(Err(error)) = &read
            && let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            *self.ending.borrow_mut() = Some(error.clone());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tunnel).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tunnel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tunnel).poll_shutdown(cx)
    }
}
