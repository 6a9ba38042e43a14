//! Bytes between a CONNECT stream and a pair of plain halves: END_STREAM is FIN and FIN is END_STREAM, each direction for
//! itself; an error of either ends both. The window opens only as bytes are written on, so back-pressure passes through.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How a stream went.
#[derive(Debug)]
pub struct Ended {
    /// Bytes from the plain side into the stream.
    pub sent: u64,
    /// Bytes from the stream to the plain side.
    pub received: u64,
    /// Whether both directions ended cleanly, or what broke.
    pub how: Result<(), Broken>,
}

/// What ended a stream before both directions were done.
#[derive(Debug)]
pub enum Broken {
    /// The other side sent RST_STREAM.
    Reset(Reason),
    /// The connection ended under it.
    Lost(String),
    /// The other side broke a tunnel's rules; the stream was reset with PROTOCOL_ERROR.
    Malformed(String),
    /// The plain side failed; the stream is dropped, and `h2` resets it, as ztunnel leaves it to do: with NO_ERROR
    /// when a server has said all, else with CANCEL.
    Plain(io::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reset(reason) => write!(f, "reset by peer: {reason:?}"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Malformed(why) => write!(f, "malformed: {why}"),
            Self::Plain(why) => write!(f, "plain side: {why}"),
        }
    }
}

/// A CONNECT stream's two halves.
#[derive(Debug)]
pub struct Halves {
    /// Towards the peer.
    pub send: SendStream<Bytes>,
    /// From the peer.
    pub recv: RecvStream,
}

/// Copies until both directions have ended.
pub async fn pipe<R, W>(reader: R, writer: W, mut stream: Halves) -> Ended
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let up = into_stream(reader, &mut stream.send, &sent);
    let down = from_stream(writer, &mut stream.recv, &received);
    let how = tokio::try_join!(up, down).map(|_| ());
    if let Err(Broken::Malformed(_)) = &how {
        stream.send.send_reset(Reason::PROTOCOL_ERROR);
    }
    Ended { sent: sent.into_inner(), received: received.into_inner(), how }
}

async fn into_stream(
    mut reader: impl AsyncRead + Unpin,
    send: &mut SendStream<Bytes>,
    count: &AtomicU64,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let filled = tokio::select! {
            read = reader.read(&mut buffer) => read.map_err(Broken::Plain)?,
            reset = poll_fn(|cx| send.poll_reset(cx)) => return Err(reset.map_or_else(broken, Broken::Reset)),
        };
        if filled == 0 {
            return send.send_data(Bytes::new(), true).map_err(broken);
        }
        send_all(&buffer[..filled], send).await?;
        count.fetch_add(filled as u64, Ordering::Relaxed);
    }
}

async fn send_all(mut bytes: &[u8], send: &mut SendStream<Bytes>) -> Result<(), Broken> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let room = match poll_fn(|cx| send.poll_capacity(cx)).await {
            Some(room) => room.map_err(broken)?,
            None => return Err(closed(send).await),
        };
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        send.send_data(Bytes::copy_from_slice(now), false).map_err(broken)?;
        bytes = later;
    }
    Ok(())
}

async fn closed(send: &mut SendStream<Bytes>) -> Broken {
    poll_fn(|cx| send.poll_reset(cx)).await.map_or_else(broken, Broken::Reset)
}

async fn from_stream(
    mut writer: impl AsyncWrite + Unpin,
    recv: &mut RecvStream,
    count: &AtomicU64,
) -> Result<(), Broken> {
    while let Some(data) = recv.data().await {
        let data = data.map_err(broken)?;
        writer.write_all(&data).await.map_err(Broken::Plain)?;
        writer.flush().await.map_err(Broken::Plain)?;
        recv.flow_control().release_capacity(data.len()).map_err(broken)?;
        count.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
    if recv.trailers().await.map_err(broken)?.is_some() {
        return Err(Broken::Malformed("expected no trailers on a tunnel".into()));
    }
    match writer.shutdown().await {
        // A plain side that is gone already has no need of a FIN.
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other.map_err(Broken::Plain),
    }
}

fn broken(error: h2::Error) -> Broken {
    match error.reason() {
        Some(reason) if error.is_reset() => Broken::Reset(reason),
        _ => Broken::Lost(error.to_string()),
    }
}

const CHUNK_BYTES: usize = 16 * 1024;
