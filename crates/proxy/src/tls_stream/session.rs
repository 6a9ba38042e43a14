//! One side of a TLS session without buffers of its own: ciphertext goes in, and what comes of it
//! (plaintext, ciphertext for the peer, the end) is put where the caller says. Knows no socket.

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls_pki_types::CertificateDer;
use tokio::io::ReadBuf;

pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Session {
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Client(session) => session.is_handshaking(),
            Self::Server(session) => session.is_handshaking(),
        }
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Client(session) => session.alpn_protocol(),
            Self::Server(session) => session.alpn_protocol(),
        }
    }

    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Client(session) => session.peer_certificates(),
            Self::Server(session) => session.peer_certificates(),
        }
        .unwrap_or_default()
    }

    /// One step towards encrypting: how many bytes of `input` are done with, and how many were
    /// written to `out`; `None`: rustls had something else to say or to take first.
    pub(super) fn seal(
        &mut self,
        flow: &mut Flow,
        input: &mut [u8],
        sealing: Sealing<'_>,
        out: &mut [u8],
    ) -> (usize, Result<Option<usize>, Error>) {
        match self {
            Self::Client(session) => seal_step(session.process_tls_records(input), flow, sealing, out),
            Self::Server(session) => seal_step(session.process_tls_records(input), flow, sealing, out),
        }
    }
}

/// What a session has produced and nobody has taken yet.
#[derive(Default)]
pub(super) struct Flow {
    /// Ciphertext for the socket, of which `sent` bytes went.
    pub(super) pending: Vec<u8>,
    /// See `pending`.
    pub(super) sent: usize,
    /// One record's plaintext that didn't fit the reader's buffer, of which `taken` bytes went.
    plain: Vec<u8>,
    taken: usize,
    /// The peer's `close_notify` came.
    pub(super) peer_closed: bool,
    /// Both sides' `close_notify` passed.
    pub(super) ended: bool,
}

impl Flow {
    pub(super) fn has_plain(&self) -> bool {
        self.taken < self.plain.len()
    }

    pub(super) fn take_plain(&mut self, out: &mut ReadBuf<'_>) {
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

    #[cfg(test)]
    pub(super) fn held_capacity(&self) -> usize {
        self.pending.capacity() + self.plain.capacity()
    }

    fn put_plain(&mut self, record: &[u8], out: &mut ReadBuf<'_>) {
        let fits = if self.has_plain() { 0 } else { record.len().min(out.remaining()) };
        out.put_slice(&record[..fits]);
        self.plain.extend_from_slice(&record[fits..]);
    }
}

#[derive(Clone, Copy)]
pub(super) enum Sealing<'a> {
    Bytes(&'a [u8]),
    CloseNotify,
}

enum Step {
    Again,
    NeedsMore,
}

/// Decrypts and answers until more ciphertext is needed, or a record didn't fit `out`. Returns how
/// many bytes of `input` are done with.
pub(super) fn drive(
    session: &mut Session,
    flow: &mut Flow,
    input: &mut [u8],
    out: &mut ReadBuf<'_>,
) -> (usize, Result<(), Error>) {
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
) -> (usize, Result<Step, Error>) {
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
) -> (usize, Result<Option<usize>, Error>) {
    match status {
        UnbufferedStatus { discard, state: Ok(ConnectionState::WriteTraffic(traffic)), .. } => {
            (discard, encrypt(traffic, sealing, out).map(Some))
        }
        UnbufferedStatus { discard, state: Ok(ConnectionState::BlockedHandshake), .. } => {
            (discard, Err(Error::HandshakeNotComplete))
        }
        status => {
            let (discard, step) = advance(status, flow, &mut ReadBuf::new(&mut []));
            (discard, step.map(|_| None))
        }
    }
}

fn encrypt<D>(mut traffic: WriteTraffic<'_, D>, sealing: Sealing<'_>, out: &mut [u8]) -> Result<usize, Error> {
    match sealing {
        Sealing::Bytes(bytes) => traffic.encrypt(bytes, out),
        Sealing::CloseNotify => traffic.queue_close_notify(out),
    }
    .map_err(|error| match error {
        EncryptError::EncryptExhausted => Error::EncryptError,
        EncryptError::InsufficientSize(size) => {
            Error::General(format!("expected {} bytes of room, found {}", size.required_size, out.len()))
        }
    })
}
