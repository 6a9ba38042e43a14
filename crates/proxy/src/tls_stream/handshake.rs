//! The handshake, which is rustls's: ciphertext goes in, and what comes of it is put aside. In the
//! end its keys go over to [`Records`]. Knows no socket.

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls_pki_types::CertificateDer;
use weft_identity::RECORD_HEADER_BYTES;

use super::records::{Kernel, Records};
use super::stash::Stash;

/// A handshake under way.
pub(super) struct Handshake {
    session: Session,
    /// Ciphertext that was read and not yet used.
    pub(super) unread: Vec<u8>,
    /// How much of that rustls has been shown.
    shown: usize,
    /// Ciphertext for the socket.
    pub(super) pending: Stash,
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
        Self { session, unread: Vec::new(), shown: 0, pending: Stash::default() }
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
            self.shown -= discard;
            match (step, failed.take()) {
                (Ok(Step::Again), None) => {}
                (Ok(Step::NeedsMore), None) if self.show_more() => {}
                (Ok(Step::NeedsMore), None) => return Ok(()),
                // The second turn fetches the alert that tells the peer.
                (Err(error), None) => failed = Some(error),
                (_, Some(error)) => return Err(error),
            }
        }
    }

    fn advance(&mut self) -> (usize, Result<Step, Error>) {
        let (shown, pending) = (&mut self.unread[..self.shown], &mut self.pending);
        match &mut self.session {
            Session::Client(session) => step(session.process_tls_records(shown), pending),
            Session::Server(session) => step(session.process_tls_records(shown), pending),
        }
    }

    /// Shows rustls one more record, or as much of one as there is. What follows the handshake it mustn't see: it
    /// would answer a change of keys that is asked for there only after its keys have gone over. Returns whether
    /// there was any.
    fn show_more(&mut self) -> bool {
        let before = self.shown;
        if !self.is_over() {
            self.shown = next_boundary(&self.unread, before);
        }
        self.shown > before
    }

    /// Takes the keys over. All that was to be sent must have been.
    pub(super) fn finish(self) -> Result<Agreed, Error> {
        let Self { session, unread, .. } = self;
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
        Ok(Agreed { records: Records::new(secrets, kernel)?, alpn, peer, unread })
    }
}

fn step<D>(
    UnbufferedStatus { discard, state, .. }: UnbufferedStatus<'_, '_, D>,
    pending: &mut Stash,
) -> (usize, Result<Step, Error>) {
    let step = match state {
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
        Ok(_) => Ok(Step::NeedsMore),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Where the first record ends that ends behind `shown`, or the end of all when it isn't there yet (RFC 8446, 5.1).
fn next_boundary(records: &[u8], shown: usize) -> usize {
    let mut end = 0;
    while end <= shown {
        let Some((header, rest)) = records[end..].split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return records.len();
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if rest.len() < length {
            return records.len();
        }
        end += RECORD_HEADER_BYTES + length;
    }
    end
}
