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
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// More than the reader's kernel takes, and no more than the writer's does.
    const MESSAGE: usize = 1 << 20;

    #[tokio::test]
    async fn the_last_message_arrives_though_its_reader_still_speaks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reader = TcpSocket::new_v4().unwrap();
        reader.set_recv_buffer_size(16 << 10).unwrap();
        let mut reader = reader.connect(listener.local_addr().unwrap()).await.unwrap();
        let mut writer = listener.accept().await.unwrap().0;
        let writing = async move {
            writer.write_all(&vec![1; MESSAGE]).await.unwrap();
            let mut end = Linger::new(Duration::from_secs(600));
            poll_fn(|cx| end.poll(cx, &mut writer)).await;
        };
        let reading = async move {
            let (mut got, mut bytes) = (0, [0; 1024]);
            loop {
                reader.write_all(b"more").await.unwrap();
                match reader.read(&mut bytes).await.unwrap() {
                    0 => return got,
                    more => got += more,
                }
            }
        };
        assert_eq!(tokio::join!(writing, reading).1, MESSAGE);
    }
}
