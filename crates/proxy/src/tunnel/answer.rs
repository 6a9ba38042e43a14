//! Head and answer of a TCP exchange, on a connection that carries nothing else yet.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_wire::head::{Answer, Head, MAX_HEAD_BYTES};

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
        tunnel.write_all(&bytes).await?;
        tunnel.flush().await?;
        read_answer(tunnel).await
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
