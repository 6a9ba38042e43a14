//! TLS over one TCP socket, written for few system calls: what the socket has is read in one call
//! of up to four records, and all that is ready to be sent goes in one write.
//!
//! rustls's unbuffered interface is used, so that the buffers are ours: ciphertext passes through
//! one scratch buffer of the thread and is decrypted there, and an idle connection holds none.
//! Nothing here knows the mesh; a configuration decides who is trusted.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use weft_identity::server_name;

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
        match &self.session {
            Session::Client(session) => session.alpn_protocol(),
            Session::Server(session) => session.alpn_protocol(),
        }
    }

    /// The peer's certificates, the leaf first; verified.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match &self.session {
            Session::Client(session) => session.peer_certificates(),
            Session::Server(session) => session.peer_certificates(),
        }
        .unwrap_or_default()
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

    /// Lets rustls write: what it must say first goes to `pending`.
    fn seal(&mut self, sealing: Sealing<'_>, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = &mut self.unread[..];
            let (discard, sealed) = match &mut self.session {
                Session::Client(session) => seal_step(session.process_tls_records(input), &mut self.flow, sealing, out),
                Session::Server(session) => seal_step(session.process_tls_records(input), &mut self.flow, sealing, out),
            };
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

enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Session {
    fn is_handshaking(&self) -> bool {
        match self {
            Self::Client(session) => session.is_handshaking(),
            Self::Server(session) => session.is_handshaking(),
        }
    }
}

/// What a session has produced and nobody has taken yet.
#[derive(Default)]
struct Flow {
    /// Ciphertext for the socket, of which `sent` bytes went.
    pending: Vec<u8>,
    sent: usize,
    /// One record's plaintext that didn't fit the reader's buffer, of which `taken` bytes went.
    plain: Vec<u8>,
    taken: usize,
    /// The peer's `close_notify` came.
    peer_closed: bool,
    /// Both sides' `close_notify` passed.
    ended: bool,
}

impl Flow {
    fn has_plain(&self) -> bool {
        self.taken < self.plain.len()
    }

    fn take_plain(&mut self, out: &mut ReadBuf<'_>) {
        if self.has_plain() {
            let rest = &self.plain[self.taken..];
            let length = rest.len().min(out.remaining());
            out.put_slice(&rest[..length]);
            self.taken += length;
            if !self.has_plain() {
                self.plain = Vec::new();
                self.taken = 0;
            }
        }
    }

    fn put_plain(&mut self, record: &[u8], out: &mut ReadBuf<'_>) {
        let fits = if self.has_plain() { 0 } else { record.len().min(out.remaining()) };
        out.put_slice(&record[..fits]);
        self.plain.extend_from_slice(&record[fits..]);
    }
}

#[derive(Clone, Copy)]
enum Sealing<'a> {
    Bytes(&'a [u8]),
    CloseNotify,
}

enum Step {
    Again,
    NeedsMore,
}

/// Decrypts and answers until more ciphertext is needed, or a record didn't fit `out`. Returns how
/// many bytes of `input` are done with.
fn drive(
    session: &mut Session,
    flow: &mut Flow,
    input: &mut [u8],
    out: &mut ReadBuf<'_>,
) -> (usize, Result<(), rustls::Error>) {
    let mut consumed = 0;
    let mut failed = None;
    loop {
        let rest = &mut input[consumed..];
        let (discard, step) = match session {
            Session::Client(session) => advance(session.process_tls_records(rest), flow, out),
            Session::Server(session) => advance(session.process_tls_records(rest), flow, out),
        };
        consumed += discard;
        match (step, failed.take()) {
            (Ok(Step::Again), None) if !flow.has_plain() => {}
            (Ok(_), None) => return (consumed, Ok(())),
            // The second turn fetches the alert that tells the peer.
            (Err(error), None) => failed = Some(error),
            (_, Some(error)) => return (consumed, Err(error)),
        }
    }
}

fn advance<D>(
    UnbufferedStatus { discard, state, .. }: UnbufferedStatus<'_, '_, D>,
    flow: &mut Flow,
    out: &mut ReadBuf<'_>,
) -> (usize, Result<Step, rustls::Error>) {
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => flow.put_plain(record.payload, out),
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                let start = flow.pending.len();
                flow.pending.resize(start + size.required_size, 0);
                // It fits: the size is the one that was asked for.
                let _encoded = data.encode(&mut flow.pending[start..]);
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            flow.peer_closed = true;
            Ok(Step::NeedsMore)
        }
        Ok(ConnectionState::Closed) => {
            flow.ended = true;
            Ok(Step::NeedsMore)
        }
        Ok(_) => Ok(Step::NeedsMore),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn seal_step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    flow: &mut Flow,
    sealing: Sealing<'_>,
    out: &mut [u8],
) -> (usize, Result<Option<usize>, rustls::Error>) {
    match status {
        UnbufferedStatus { discard, state: Ok(ConnectionState::WriteTraffic(traffic)), .. } => {
            (discard, encrypt(traffic, sealing, out).map(Some))
        }
        UnbufferedStatus { discard, state: Ok(ConnectionState::BlockedHandshake), .. } => {
            (discard, Err(rustls::Error::HandshakeNotComplete))
        }
        status => {
            let (discard, step) = advance(status, flow, &mut ReadBuf::new(&mut []));
            (discard, step.map(|_| None))
        }
    }
}

fn encrypt<D>(mut traffic: WriteTraffic<'_, D>, sealing: Sealing<'_>, out: &mut [u8]) -> Result<usize, rustls::Error> {
    match sealing {
        Sealing::Bytes(bytes) => traffic.encrypt(bytes, out),
        Sealing::CloseNotify => traffic.queue_close_notify(out),
    }
    .map_err(|error| match error {
        EncryptError::EncryptExhausted => rustls::Error::EncryptError,
        EncryptError::InsufficientSize(size) => {
            rustls::Error::General(format!("expected {} bytes of room, found {}", size.required_size, out.len()))
        }
    })
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
