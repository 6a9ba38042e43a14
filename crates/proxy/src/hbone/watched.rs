//! TLS below HTTP/2, with what `h2` would forget: why TLS ended, and whether anything comes. In TLS 1.3
//! a server's refusal of our certificate arrives only when its first byte is read, which is HTTP/2's to do.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::heard_out::HeardOut;
use crate::limits::H2_LINGER;
use crate::linger::Linger;
use crate::tls_stream::TlsStream;

/// Why TLS ended, if it did.
pub(super) type Ending = Rc<RefCell<Option<rustls::Error>>>;

/// Whether anything has come since it was last asked.
pub(super) type Heard = Rc<Cell<bool>>;

/// A connection whose TLS failure is kept.
pub(super) struct Watched {
    tunnel: HeardOut<Box<TlsStream>>,
    ending: Ending,
    heard: Heard,
    end: Option<Linger>,
}

impl Watched {
    /// Watches `tunnel`.
    pub(super) fn new(tunnel: Box<TlsStream>) -> (Self, Ending, Heard) {
        let (ending, heard) = (Ending::default(), Heard::default());
        let tunnel = HeardOut::new(tunnel);
        (Self { tunnel, ending: ending.clone(), heard: heard.clone(), end: None }, ending, heard)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.tunnel.poll_read(cx, out);
        if read.is_ready() {
            self.heard.set(true);
        }
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
        self.tunnel.poll_write(cx, bytes).map(Ok)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.poll_flush(cx).map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tunnel, end, .. } = &mut *self;
        end.get_or_insert_with(|| Linger::new(H2_LINGER)).poll(cx, &mut tunnel.stream).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::linger::tests::{MESSAGE, read_while_speaking};
    use crate::tls_stream::tests::pair;

    #[tokio::test]
    async fn what_was_said_last_arrives_though_the_peer_still_speaks() {
        let (reader, writer) = pair().await;
        let (mut watched, ..) = Watched::new(Box::new(writer));
        let writing = async move {
            watched.write_all(&vec![1; MESSAGE]).await.unwrap();
            watched.shutdown().await.unwrap();
        };
        assert_eq!(tokio::join!(writing, read_while_speaking(reader, b"more")).1, MESSAGE);
    }

    #[tokio::test]
    async fn why_tls_ended_is_known_though_a_write_found_the_end() {
        let (near, far) = pair().await;
        assert_eq!(far.socket().try_write(b"no record").unwrap(), 9);
        far.socket().set_zero_linger().unwrap();
        drop(far);
        let (mut watched, ending, _heard) = Watched::new(Box::new(near));
        watched.write_all(b"unheard").await.unwrap();
        watched.read_u8().await.unwrap_err();
        assert!(ending.borrow().is_some());
    }
}
