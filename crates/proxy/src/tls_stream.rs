//! TLS over one TCP socket, written for few system calls: what the socket has is read in one call
//! of up to four records, and all that is ready to be sent goes in one write.
//!
//! rustls's unbuffered interface is used, so that the buffers are ours: ciphertext passes through
//! one scratch buffer of the thread and is decrypted there, and an idle connection holds none.
//! Nothing here knows the mesh; a configuration decides who is trusted.

mod session;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use weft_identity::server_name;

use session::{Flow, Sealing, Session, drive};

use crate::limits::{CIPHER_BYTES, PLAIN_BYTES};

/// A TLS connection, either side of it, after its handshake.
///
/// Reading ends with 0 bytes only after the peer's `close_notify`; an end without it is
/// `UnexpectedEof`. Dropping sends no `close_notify`: only `poll_shutdown` does.
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: Session,
    flow: Flow,
    /// Ciphertext that was read and not yet decrypted.
    unread: Vec<u8>,
    /// Whether `unread` may hold whole records.
    backlog: bool,
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
        let session = Session::Client(UnbufferedClientConnection::new(config, server_name())?);
        Self::new(socket, session).handshake().await
    }

    /// Accepts as a server.
    ///
    /// # Errors
    /// [`HandshakeError`], after the peer was told why.
    pub(crate) async fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Self, HandshakeError> {
        let session = Session::Server(UnbufferedServerConnection::new(config)?);
        Self::new(socket, session).handshake().await
    }

    fn new(socket: TcpStream, session: Session) -> Self {
        let flow = Flow::default();
        Self { socket, session, flow, unread: Vec::new(), backlog: false, close_queued: false }
    }

    /// The protocol that both sides agreed upon.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn()
    }

    /// The peer's certificates, the leaf first; verified.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.session.peer_certificates()
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    async fn handshake(mut self) -> Result<Self, HandshakeError> {
        let result = std::future::poll_fn(|cx| self.poll_handshake(cx)).await;
        if let Err(HandshakeError::Tls(_)) = result {
            // The alert says why; the peer may be gone, then nobody is told.
            let _told = std::future::poll_fn(|cx| self.poll_send_pending(cx)).await;
        }
        result.map(|()| self)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        let mut none = ReadBuf::new(&mut []);
        loop {
            let (consumed, result) = drive(&mut self.session, &mut self.flow, &mut self.unread, &mut none);
            self.unread.drain(..consumed);
            result?;
            ready!(self.poll_send_pending(cx))?;
            if !self.session.is_handshaking() {
                self.backlog = !self.unread.is_empty();
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx, &mut none))?;
        }
    }

    /// One read of the socket, decrypted as far as `out` and the record in the stash allow.
    fn poll_receive(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<Result<(), HandshakeError>> {
        CIPHER.with_borrow_mut(|cipher| {
            let kept = self.unread.len();
            if kept == cipher.len() {
                return Poll::Ready(Err(rustls::Error::General("a handshake message is too long".to_owned()).into()));
            }
            let mut received = ReadBuf::new(&mut cipher[kept..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut received))?;
            let filled = kept + received.filled().len();
            if filled == kept {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
            }
            cipher[..kept].copy_from_slice(&self.unread);
            let (consumed, result) = drive(&mut self.session, &mut self.flow, &mut cipher[..filled], out);
            self.keep(&cipher[consumed..filled]);
            Poll::Ready(result.map_err(HandshakeError::Tls))
        })
    }

    /// Keeps what was read and not decrypted; no buffer when there is nothing.
    fn keep(&mut self, rest: &[u8]) {
        self.backlog = self.flow.has_plain();
        if rest.is_empty() {
            self.unread = Vec::new();
        } else {
            self.unread.clear();
            self.unread.extend_from_slice(rest);
        }
    }

    fn poll_send_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flow = &mut self.flow;
        while flow.sent < flow.pending.len() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &flow.pending[flow.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            flow.sent += sent;
        }
        if flow.sent > 0 {
            flow.pending = Vec::new();
            flow.sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts into `out`; what rustls must say first goes to `pending`.
    fn seal(&mut self, sealing: Sealing<'_>, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let (discard, sealed) = self.session.seal(&mut self.flow, &mut self.unread, sealing, out);
            self.unread.drain(..discard);
            match sealed.map_err(tls_error)? {
                Some(length) => return Ok(length),
                None if self.flow.ended => return Err(io::ErrorKind::BrokenPipe.into()),
                None => {}
            }
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            this.flow.take_plain(out);
            if out.filled().len() > before || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.backlog {
                let (consumed, result) = drive(&mut this.session, &mut this.flow, &mut this.unread, out);
                let rest = this.unread.split_off(consumed);
                this.keep(&rest);
                result.map_err(tls_error)?;
            } else if this.flow.peer_closed {
                return Poll::Ready(Ok(()));
            } else {
                ready!(this.poll_receive(cx, out)).map_err(io_error)?;
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    /// Takes up to 64 KiB and writes them at once. What the socket doesn't take is kept, and
    /// nothing more is taken before it went.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.close_queued {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_send_pending(cx))?;
        let taken = &bytes[..bytes.len().min(PLAIN_BYTES)];
        CIPHER.with_borrow_mut(|cipher| {
            let sealed = this.seal(Sealing::Bytes(taken), cipher)?;
            let mut sent = 0;
            if this.flow.pending.is_empty() {
                sent = match Pin::new(&mut this.socket).poll_write(cx, &cipher[..sealed]) {
                    Poll::Ready(sent) => sent?,
                    Poll::Pending => 0,
                };
            }
            this.flow.pending.extend_from_slice(&cipher[sent..sealed]);
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
            let mut alert = [0; 64];
            let length = this.seal(Sealing::CloseNotify, &mut alert)?;
            this.flow.pending.extend_from_slice(&alert[..length]);
            this.close_queued = true;
        }
        ready!(this.poll_send_pending(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

fn tls_error(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn io_error(error: HandshakeError) -> io::Error {
    match error {
        HandshakeError::Io(error) => error,
        HandshakeError::Tls(error) => tls_error(error),
    }
}

thread_local! {
    /// Where ciphertext passes, coming and going. Only one connection is served at a time, and
    /// none keeps anything here between two turns.
    static CIPHER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHER_BYTES].into_boxed_slice());
}

#[cfg(test)]
mod tests;
