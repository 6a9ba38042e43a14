//! Records after the handshake (RFC 8446, sections 4.6, 5 and 6): content, alerts, and changes of
//! keys. rustls made the keys and makes the next ones. Knows no socket.

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, InvalidMessage, PeerMisbehaved,
};
use weft_identity::{LateMessage, Protection, RECORD_CONTENT_BYTES, RECORD_OVERHEAD_BYTES, RecordHeader};

use super::stash::Stash;

/// Changes of the peer's key without content between them, each of which costs more than it does
/// the peer.
const KEY_UPDATES: u8 = 32;
const ALERT_BYTES: usize = 2;

/// Both directions of one session.
pub(super) struct Records {
    sealing: Protection,
    opening: Protection,
    kernel: Kernel,
    /// The first part of a message that came in more than one record.
    message: Vec<u8>,
    key_updates: u8,
    /// The peer has asked for another key of ours: it gets one before what is sealed next.
    key_owed: bool,
    /// The peer's `close_notify` came: nothing more is read.
    pub(super) peer_closed: bool,
}

/// What rustls keeps of a session, to make its next keys.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Records {
    pub(super) fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, Error> {
        let (sealing, opening) = (Protection::new(secrets.tx)?, Protection::new(secrets.rx)?);
        Ok(Self { sealing, opening, kernel, message: Vec::new(), key_updates: 0, key_owed: false, peer_closed: false })
    }

    /// Writes `content` as records at the beginning of `out`. Returns their length.
    pub(super) fn seal(&mut self, content: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let mut length = 0;
        for part in content.chunks(RECORD_CONTENT_BYTES) {
            length += self.sealing.seal(ContentType::ApplicationData, part, &mut out[length..])?;
        }
        Ok(length)
    }

    /// Changes the key when it has protected all that it may, or when the peer has asked for it; the
    /// peer is told in `pending`.
    pub(super) fn renew(&mut self, pending: &mut Stash) -> Result<(), Error> {
        if !self.sealing.is_spent() && !self.key_owed {
            return Ok(());
        }
        self.key_owed = false;
        let said = &LateMessage::KEY_UPDATE;
        let room = pending.room(said.len() + RECORD_OVERHEAD_BYTES);
        self.sealing.seal(ContentType::Handshake, said, room)?;
        self.sealing = Protection::new(self.kernel.next_sealing()?)?;
        Ok(())
    }

    /// Puts an alert into `pending`.
    pub(super) fn alert(&mut self, description: AlertDescription, pending: &mut Stash) -> Result<(), Error> {
        let level = if description == AlertDescription::CloseNotify { WARNING } else { FATAL };
        let room = pending.room(ALERT_BYTES + RECORD_OVERHEAD_BYTES);
        self.sealing.seal(ContentType::Alert, &[level, description.into()], room)?;
        Ok(())
    }

    /// Opens one record. Returns how much content it has, which is at the beginning of `out`.
    pub(super) fn open(&mut self, header: RecordHeader, payload: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (kind, length) = self.opening.open(header, payload, out)?;
        if kind != ContentType::Handshake && !self.message.is_empty() {
            return Err(inappropriate(kind, ContentType::Handshake));
        }
        match kind {
            ContentType::ApplicationData => {
                self.key_updates = 0;
                return Ok(length);
            }
            ContentType::Alert => self.told(&out[..length])?,
            ContentType::Handshake => self.messages(&out[..length])?,
            other => return Err(inappropriate(other, ContentType::ApplicationData)),
        }
        Ok(0)
    }

    fn told(&mut self, alert: &[u8]) -> Result<(), Error> {
        let [_, description] = alert else {
            return Err(Error::InvalidMessage(InvalidMessage::MessageTooShort));
        };
        match AlertDescription::from(*description) {
            AlertDescription::CloseNotify => self.peer_closed = true,
            // It is followed by a `close_notify`.
            AlertDescription::UserCanceled => {}
            other => return Err(Error::AlertReceived(other)),
        }
        Ok(())
    }

    /// What follows the handshake: changes of keys, and tickets, which nobody resumes with.
    fn messages(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.message.extend_from_slice(bytes);
        while let Some((message, length)) = LateMessage::read(&self.message)? {
            let is_last = self.message.len() == length;
            match message {
                LateMessage::Ticket if matches!(self.kernel, Kernel::Client(_)) => {}
                LateMessage::Ticket => return Err(inappropriate(ContentType::Handshake, ContentType::ApplicationData)),
                // The next record has another key, so that nothing may follow in this one.
                _ if !is_last => return Err(Error::PeerMisbehaved(PeerMisbehaved::KeyEpochWithPendingFragment)),
                LateMessage::KeyUpdate => self.change_peers_key()?,
                LateMessage::KeyUpdateRequest => {
                    self.change_peers_key()?;
                    self.key_owed = true;
                }
            }
            self.message.drain(..length);
        }
        if self.message.is_empty() {
            self.message = Vec::new();
        }
        Ok(())
    }

    fn change_peers_key(&mut self) -> Result<(), Error> {
        self.key_updates += 1;
        if self.key_updates > KEY_UPDATES {
            return Err(Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests));
        }
        self.opening = Protection::new(self.kernel.next_opening()?)?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn owes_key(&self) -> bool {
        self.key_owed
    }

    #[cfg(test)]
    pub(super) fn owe_key(&mut self) {
        self.key_owed = true;
    }
}

impl Kernel {
    fn next_sealing(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        }
    }

    fn next_opening(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        }
    }
}

/// Levels of alerts, which say nothing that the description doesn't.
const WARNING: u8 = 1;
const FATAL: u8 = 2;

fn inappropriate(got_type: ContentType, expected: ContentType) -> Error {
    Error::InappropriateMessage { expect_types: vec![expected], got_type }
}

/// What a peer is told whose record was refused; nothing, when it has told itself.
pub(super) fn alert_of(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::AlertReceived(_) => None,
        Error::DecryptError => Some(AlertDescription::BadRecordMac),
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            Some(AlertDescription::UnexpectedMessage)
        }
        Error::InvalidMessage(_) => Some(AlertDescription::DecodeError),
        _ => Some(AlertDescription::InternalError),
    }
}
