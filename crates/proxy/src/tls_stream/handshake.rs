//! The handshake, which is rustls's: ciphertext goes in, and what comes of it is put aside. In the
//! end its keys go over to [`Records`]. Knows no socket.

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls_pki_types::CertificateDer;

use super::records::{Kernel, Records};
use super::stash::Stash;

/// A handshake under way.
pub(super) struct Handshake {
    session: Session,
    /// Ciphertext that was read and not yet used.
    pub(super) unread: Vec<u8>,
    /// Ciphertext for the socket.
    pub(super) pending: Stash,
    /// What the peer sent behind its own last flight.
    plain: Vec<u8>,
    peer_closed: bool,
}

enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What a handshake came to.
pub(super) struct Agreed {
    pub records: Records,
    pub alpn: Option<Vec<u8>>,
    /// A client's certificates; a server's are of no use once they are verified.
    pub peer: Vec<CertificateDer<'static>>,
    /// The first content that came with the handshake's last flight.
    pub plain: Vec<u8>,
    /// What of `unread` follows the handshake.
    pub unread: Vec<u8>,
}

/// What a step came to.
enum Step {
    Again,
    NeedsMore,
}

impl Handshake {
    pub(super) fn client(session: UnbufferedClientConnection) -> Self {
        Self::new(Session::Client(session))
    }

    pub(super) fn server(session: UnbufferedServerConnection) -> Self {
        Self::new(Session::Server(session))
    }

    fn new(session: Session) -> Self {
        Self { session, unread: Vec::new(), pending: Stash::default(), plain: Vec::new(), peer_closed: false }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.session {
            Session::Client(session) => !session.is_handshaking(),
            Session::Server(session) => !session.is_handshaking(),
        }
    }

    /// Goes on until more ciphertext is needed.
    pub(super) fn drive(&mut self) -> Result<(), Error> {
        let mut failed = None;
        loop {
            let (discard, step) = self.advance();
            self.unread.drain(..discard);
            match (step, failed.take()) {
                (Ok(Step::Again), None) => {}
                (Ok(Step::NeedsMore), None) => return Ok(()),
                // The second turn fetches the alert that tells the peer.
                (Err(error), None) => failed = Some(error),
                (_, Some(error)) => return Err(error),
            }
        }
    }

    fn advance(&mut self) -> (usize, Result<Step, Error>) {
        let Self { session, unread, pending, plain, peer_closed } = self;
        match session {
            Session::Client(session) => step(session.process_tls_records(unread), pending, plain, peer_closed),
            Session::Server(session) => step(session.process_tls_records(unread), pending, plain, peer_closed),
        }
    }

    /// Takes the keys over. All that was to be sent must have been.
    pub(super) fn finish(self) -> Result<Agreed, Error> {
        let Self { session, unread, plain, peer_closed, .. } = self;
        let (alpn, peer) = match &session {
            Session::Client(session) => (session.alpn_protocol(), None),
            Session::Server(session) => (session.alpn_protocol(), session.peer_certificates()),
        };
        let (alpn, peer) = (alpn.map(<[u8]>::to_vec), peer.unwrap_or_default().to_vec());
        let (secrets, kernel) = match session {
            Session::Client(session) => {
                let (secrets, kernel) = session.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
            Session::Server(session) => {
                let (secrets, kernel) = session.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
        };
        let mut records = Records::new(secrets, kernel)?;
        records.peer_closed = peer_closed;
        Ok(Agreed { records, alpn, peer, plain, unread })
    }
}

fn step<D>(
    UnbufferedStatus { discard, state, .. }: UnbufferedStatus<'_, '_, D>,
    pending: &mut Stash,
    plain: &mut Vec<u8>,
    peer_closed: &mut bool,
) -> (usize, Result<Step, Error>) {
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => plain.extend_from_slice(record.payload),
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                // It fits: the size is the one that was asked for.
                let _encoded = data.encode(pending.room(size.required_size));
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            *peer_closed = true;
            Ok(Step::NeedsMore)
        }
        Ok(_) => Ok(Step::NeedsMore),
        Err(error) => Err(error),
    };
    (discard, step)
}
