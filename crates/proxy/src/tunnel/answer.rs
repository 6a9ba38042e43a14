//! Head and answer of a TCP exchange, on a connection that carries nothing else yet.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_wire::head::{Answer, Head, MAX_HEAD_BYTES};

use crate::heard_out::is_end_to_be_read;
use crate::limits::ANSWER_WAIT;
use crate::tls_stream::TlsStream;

/// Says `head` and waits for the answer; what follows the answer stays unread.
///
/// # Errors
/// When the connection ends, or the peer says something else, or nothing in time.
pub(super) async fn ask(tunnel: &mut TlsStream, head: Head) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(64);
    head.encode(&mut bytes);
    let asking = async {
        let sent = async {
            tunnel.write_all(&bytes).await?;
            tunnel.flush().await
        };
        // A peer that refuses may be gone already; why, is still to be read.
        match sent.await {
            Err(error) if !is_end_to_be_read(&error) => Err(error),
            _ => read_answer(tunnel).await,
        }
    };
    tokio::time::timeout(ANSWER_WAIT, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// One byte, and what it says must follow. The stream's own buffer makes this one read of the socket.
async fn read_answer(tunnel: &mut TlsStream) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(4);
    loop {
        let found = Answer::decode(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        match found {
            Some((answer, _)) => return Ok(answer),
            None if bytes.len() > MAX_HEAD_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            None => bytes.push(tunnel.read_u8().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_wire::head::{Kind, Refusal};

    use super::*;
    use crate::tls_stream::tests::pair;

    #[tokio::test]
    async fn a_refusal_is_read_though_the_peer_has_gone() {
        let (mut near, mut far) = pair().await;
        let refusal = Answer::Refused(Refusal::Draining, "goes".into());
        let mut bytes = Vec::new();
        refusal.encode(&mut bytes);
        far.write_all(&bytes).await.unwrap();
        far.socket().set_zero_linger().unwrap();
        drop(far);
        let at = "127.0.0.1:80".parse().unwrap();
        let head = Head { kind: Kind::Tcp, destination: at, source: at, trace: None };
        assert_eq!(ask(&mut near, head).await.unwrap(), refusal);
    }
}
