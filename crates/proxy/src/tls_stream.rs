//! TLS over one TCP socket, written for few system calls and few copies: what the socket has is read
//! in one call of up to eight records and opened straight into the reader's buffer; what is written is
//! sealed from the writer's buffer and goes in one write.
//!
//! rustls shakes hands; records are protected here, so that the buffers are ours: ciphertext passes
//! through one scratch buffer of the thread, and an idle connection holds none. Nothing here knows
//! the mesh; a configuration decides who is trusted.

mod handshake;
mod records;
mod stash;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use weft_identity::{RECORD_HEADER_BYTES, RecordHeader, server_name};

use handshake::{Agreed, Handshake};
use records::{Records, alert_of};
use stash::Stash;

use crate::limits::{CIPHER_BYTES, COPY_BYTES};

/// A TLS connection, either side of it, after its handshake.
///
/// Reading ends with 0 bytes only after the peer's `close_notify`; an end without it is
/// `UnexpectedEof`. Dropping sends no `close_notify`: only `poll_shutdown` does.
pub(crate) struct TlsStream {
    socket: TcpStream,
    records: Records,
    alpn: Option<Vec<u8>>,
    peer: Vec<CertificateDer<'static>>,
    /// Ciphertext for the socket.
    pending: Stash,
    /// Ciphertext that was read and not yet opened.
    unread: Stash,
    /// Whether `unread` may hold whole records.
    backlog: bool,
    /// Content that didn't fit the reader's buffer.
    plain: Stash,
    /// What made reading impossible.
    broken: Option<rustls::Error>,
    close_queued: bool,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The socket broke.
    #[error("connection lost during the TLS handshake: {0}")]
    Io(#[from] io::Error),
    /// TLS says no: certificates, versions, or a broken peer.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl TlsStream {
    /// Connects as a client. `config` alone verifies who answers: no server name is sent.
    ///
    /// # Errors
    /// [`HandshakeError`], after the peer was told why.
    pub(crate) async fn connect(socket: TcpStream, config: Arc<ClientConfig>) -> Result<Self, HandshakeError> {
        let session = UnbufferedClientConnection::new(config, server_name())?;
        Self::shake_hands(socket, Handshake::client(session)).await
    }

    /// Accepts as a server.
    ///
    /// # Errors
    /// [`HandshakeError`], after the peer was told why.
    pub(crate) async fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Self, HandshakeError> {
        let session = UnbufferedServerConnection::new(config)?;
        Self::shake_hands(socket, Handshake::server(session)).await
    }

    async fn shake_hands(mut socket: TcpStream, mut handshake: Handshake) -> Result<Self, HandshakeError> {
        let result = std::future::poll_fn(|cx| poll_handshake(cx, &mut socket, &mut handshake)).await;
        if let Err(HandshakeError::Tls(_)) = result {
            // The alert says why; the peer may be gone, then nobody is told.
            let _told = std::future::poll_fn(|cx| poll_send(cx, &mut socket, &mut handshake.pending)).await;
        }
        result?;
        Ok(Self::new(socket, handshake.finish()?))
    }

    fn new(socket: TcpStream, Agreed { records, alpn, peer, unread }: Agreed) -> Self {
        Self {
            socket,
            records,
            alpn,
            peer,
            pending: Stash::default(),
            backlog: !unread.is_empty(),
            unread: unread.into(),
            plain: Stash::default(),
            broken: None,
            close_queued: false,
        }
    }

    /// The protocol that both sides agreed upon.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The client's certificates, the leaf first; verified. They aren't kept.
    pub(crate) fn take_client_certificates(&mut self) -> Vec<CertificateDer<'static>> {
        std::mem::take(&mut self.peer)
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// One read of the socket, opened as far as `out` allows.
    fn poll_receive(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        CIPHER.with_borrow_mut(|cipher| {
            // Less than one record: more would be a backlog.
            let kept = self.unread.rest().len();
            let mut received = ReadBuf::new(&mut cipher[kept..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut received))?;
            let filled = kept + received.filled().len();
            if filled == kept {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            cipher[..kept].copy_from_slice(self.unread.rest());
            let opened = self.open(&cipher[..filled], out)?;
            self.unread.replace(&cipher[opened..filled]);
            Poll::Ready(Ok(()))
        })
    }

    /// Opens the records that were read and found no room.
    fn open_backlog(&mut self, out: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut unread = std::mem::take(&mut self.unread);
        let opened = self.open(unread.rest(), out)?;
        unread.consume(opened);
        self.unread = unread;
        Ok(())
    }

    /// Opens the whole records of `input` for as long as `out` has room. Returns how many bytes of
    /// `input` are done with.
    fn open(&mut self, input: &[u8], out: &mut ReadBuf<'_>) -> io::Result<usize> {
        let opened = self.open_records(input, out);
        if let Err(error) = &opened {
            self.broken = Some(error.clone());
            if let Some(description) = alert_of(error) {
                // Who can't be told any more isn't.
                let _told = self.records.alert(description, &mut self.pending);
            }
        }
        opened.map_err(tls_error)
    }

    fn open_records(&mut self, input: &[u8], out: &mut ReadBuf<'_>) -> Result<usize, rustls::Error> {
        let (mut done, before) = (0, out.filled().len());
        self.backlog = false;
        while !self.records.peer_closed
            && let Some(header) = RecordHeader::read(&input[done..])?
            && let Some(payload) = input[done + RECORD_HEADER_BYTES..].get(..header.payload())
        {
            if out.remaining() >= header.opened() {
                let room = out.initialize_unfilled_to(header.opened());
                let length = self.records.open(header, payload, room)?;
                out.advance(length);
            } else if out.filled().len() > before || !self.plain.is_empty() {
                self.backlog = true;
                break;
            } else {
                let mut room = vec![0; header.opened()];
                let length = self.records.open(header, payload, &mut room)?;
                room.truncate(length);
                self.plain = room.into();
                self.plain.give(out);
            }
            done += RECORD_HEADER_BYTES + header.payload();
        }
        Ok(done)
    }

    fn poll_send_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_send(cx, &mut self.socket, &mut self.pending)
    }
}

fn poll_handshake(
    cx: &mut Context<'_>,
    socket: &mut TcpStream,
    handshake: &mut Handshake,
) -> Poll<Result<(), HandshakeError>> {
    loop {
        handshake.drive()?;
        ready!(poll_send(cx, socket, &mut handshake.pending))?;
        if handshake.is_over() {
            return Poll::Ready(Ok(()));
        }
        // What comes behind the handshake may fill all room: only what can't be taken in is too long.
        let room = CIPHER_BYTES.saturating_sub(handshake.unread.len());
        if room == 0 {
            return Poll::Ready(Err(rustls::Error::General("a handshake message is too long".to_owned()).into()));
        }
        let length = CIPHER.with_borrow_mut(|cipher| {
            let mut received = ReadBuf::new(&mut cipher[..room]);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut received))?;
            handshake.unread.extend_from_slice(received.filled());
            Poll::Ready(io::Result::Ok(received.filled().len()))
        });
        if ready!(length)? == 0 {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        }
    }
}

fn poll_send(cx: &mut Context<'_>, socket: &mut TcpStream, pending: &mut Stash) -> Poll<io::Result<()>> {
    while !pending.is_empty() {
        let sent = ready!(Pin::new(&mut *socket).poll_write(cx, pending.rest()))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        pending.consume(sent);
    }
    Poll::Ready(Ok(()))
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            this.plain.give(out);
            if out.filled().len() > before || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = &this.broken {
                return Poll::Ready(Err(tls_error(error.clone())));
            } else if this.backlog {
                this.open_backlog(out)?;
            } else if this.records.peer_closed {
                return Poll::Ready(Ok(()));
            } else {
                ready!(this.poll_receive(cx, out))?;
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    /// Takes up to [`COPY_BYTES`] and writes them at once. What the socket doesn't take is kept, and
    /// nothing more is taken before it went.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.close_queued {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        this.records.renew(&mut this.pending).map_err(tls_error)?;
        ready!(this.poll_send_pending(cx))?;
        let taken = &bytes[..bytes.len().min(COPY_BYTES)];
        CIPHER.with_borrow_mut(|cipher| {
            let sealed = this.records.seal(taken, cipher).map_err(tls_error)?;
            let sent = match Pin::new(&mut this.socket).poll_write(cx, &cipher[..sealed]) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            this.pending.put(&cipher[sent..sealed]);
            Poll::Ready(Ok(taken.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send_pending(cx)
    }

    /// Sends `close_notify`, then FIN; reading goes on.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.close_queued {
            this.records.alert(AlertDescription::CloseNotify, &mut this.pending).map_err(tls_error)?;
            this.close_queued = true;
        }
        ready!(this.poll_send_pending(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

fn tls_error(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

thread_local! {
    /// Where ciphertext passes, coming and going. Only one connection is served at a time, and
    /// none keeps anything here between two turns.
    static CIPHER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHER_BYTES].into_boxed_slice());
}

#[cfg(test)]
pub(crate) mod tests;
