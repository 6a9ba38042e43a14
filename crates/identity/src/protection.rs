//! The protection of TLS 1.3 records (RFC 8446, section 5.2) in one direction, from one buffer into
//! another: rustls would copy each record twice. And what may follow a handshake. Knows keys and
//! sequence numbers, and no socket.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, HandshakeType, InvalidMessage};

/// The bytes of a record's header: type, version, length.
pub const RECORD_HEADER_BYTES: usize = 5;
/// The most content of one record (RFC 8446, section 5.1).
pub const RECORD_CONTENT_BYTES: usize = 16 << 10;
/// What protection adds to a record's content: header, type of the content, tag.
pub const RECORD_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + 1 + TAG_BYTES;
const TAG_BYTES: usize = 16;
/// The longest payload of a record that a peer may send (RFC 8446, section 5.2).
const PAYLOAD_BYTES: usize = RECORD_CONTENT_BYTES + 256;
/// Records that AES-GCM protects under one key: an attacker's advantage stays below 2⁻⁶⁰
/// (draft-irtf-cfrg-aead-limits, section 5.1.1, for the longest records).
const KEY_RECORDS: u64 = 1 << 23;
/// The longest message that may follow a handshake: a ticket with all that may be in it.
const MESSAGE_BYTES: usize = 64 << 10;

/// One direction's key, and the number of its next record. Each number is used once.
pub struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    next: u64,
}

/// The header of a protected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader([u8; RECORD_HEADER_BYTES]);

impl Protection {
    /// Takes the secrets over from rustls, with the number of the next record.
    ///
    /// # Errors
    /// For suites that [`crate::provider`] doesn't offer.
    pub fn new((next, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => return Err(Error::General("expected AES-GCM, found another suite".to_owned())),
        };
        let refused = |_| Error::General("expected a key of the suite's length".to_owned());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(refused)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::General("expected an IV of 12 bytes".to_owned()))?;
        Ok(Self { key: LessSafeKey::new(key), iv, next })
    }

    /// Whether the key has protected all that it may, and must be followed by another one.
    pub fn is_spent(&self) -> bool {
        self.next >= KEY_RECORDS
    }

    /// Writes one record with `content` of at most [`RECORD_CONTENT_BYTES`] at the beginning of `out`.
    /// Returns its length: the content's and [`RECORD_OVERHEAD_BYTES`].
    ///
    /// # Errors
    /// When `content` is too long, or `out` too short.
    pub fn seal(&mut self, kind: ContentType, content: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let length = content.len() + RECORD_OVERHEAD_BYTES;
        if content.len() > RECORD_CONTENT_BYTES || out.len() < length {
            return Err(Error::EncryptError);
        }
        let (header, payload) = out[..length].split_at_mut(RECORD_HEADER_BYTES);
        let [high, low] = ((length - RECORD_HEADER_BYTES) as u16).to_be_bytes();
        header.copy_from_slice(&[ContentType::ApplicationData.into(), 3, 3, high, low]);
        let (sealed, rest) = payload.split_at_mut(content.len());
        let (nonce, header) = (self.nonce()?, Aad::from(&*header));
        self.key
            .seal_out_of_place_scatter(nonce, header, content, sealed, &[kind.into()], rest)
            .map_err(|_| Error::EncryptError)?;
        Ok(length)
    }

    /// Opens the payload of the record that begins with `header` into `out`, which must have room for
    /// [`RecordHeader::opened`]. Returns what it holds, and how much of it is at the beginning of `out`.
    ///
    /// # Errors
    /// When somebody has touched it, or the peer breaks the rules. Nothing in `out` may be used then.
    pub fn open(
        &mut self,
        header: RecordHeader,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(ContentType, usize), Error> {
        let (sealed, tag) = payload.split_at_checked(header.opened()).ok_or(Error::DecryptError)?;
        let out = out.get_mut(..sealed.len()).ok_or(Error::DecryptError)?;
        let (nonce, header) = (self.nonce()?, Aad::from(header.0));
        self.key.open_separate_gather(nonce, header, sealed, tag, out).map_err(|_| Error::DecryptError)?;
        // Zeros may follow the type of the content, which is none itself.
        let last = out.iter().rposition(|byte| *byte != 0).ok_or(Error::DecryptError)?;
        if last > RECORD_CONTENT_BYTES {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((ContentType::from(out[last]), last))
    }

    /// The next record's nonce (RFC 8446, section 5.3).
    fn nonce(&mut self) -> Result<Nonce, Error> {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.next.to_be_bytes()) {
            *byte ^= number;
        }
        self.next = self.next.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl RecordHeader {
    /// Reads the header at the beginning of `bytes`; `None` while it isn't whole.
    ///
    /// # Errors
    /// When no protected record begins so.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some(bytes) = bytes.first_chunk() else { return Ok(None) };
        let header = Self(*bytes);
        if header.0[0] != u8::from(ContentType::ApplicationData) {
            let (expect_types, got_type) = (vec![ContentType::ApplicationData], ContentType::from(header.0[0]));
            return Err(Error::InappropriateMessage { expect_types, got_type });
        }
        match header.payload() {
            length if length <= TAG_BYTES => Err(Error::DecryptError),
            length if length > PAYLOAD_BYTES => Err(Error::PeerSentOversizedRecord),
            _ => Ok(Some(header)),
        }
    }

    /// The bytes that follow the header.
    pub fn payload(self) -> usize {
        usize::from(u16::from_be_bytes([self.0[3], self.0[4]]))
    }

    /// The room that opening takes: the content, its type, and zeros.
    pub fn opened(self) -> usize {
        self.payload() - TAG_BYTES
    }
}

/// A message that follows a handshake (RFC 8446, section 4.6). Client certificates are asked for in
/// the handshake or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateMessage {
    /// A ticket for resumption.
    Ticket,
    /// The sender's next record has another key.
    KeyUpdate,
    /// The same, and the receiver's next record must have another key too.
    KeyUpdateRequest,
}

impl LateMessage {
    /// What is sent for [`LateMessage::KeyUpdate`].
    pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

    /// Reads the message at the beginning of `bytes`, and how long it is; `None` while it isn't whole.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let &[kind, a, b, c, ref rest @ ..] = bytes else { return Ok(None) };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > MESSAGE_BYTES {
            return Err(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = match (HandshakeType::from(kind), body) {
            (HandshakeType::NewSessionTicket, _) => Self::Ticket,
            (HandshakeType::KeyUpdate, [0]) => Self::KeyUpdate,
            (HandshakeType::KeyUpdate, [1]) => Self::KeyUpdateRequest,
            (HandshakeType::KeyUpdate, _) => return Err(Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate)),
            (got_type, _) => {
                let expect_types = vec![HandshakeType::NewSessionTicket, HandshakeType::KeyUpdate];
                return Err(Error::InappropriateHandshakeMessage { expect_types, got_type });
            }
        };
        Ok(Some((message, 4 + length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(next: u64) -> Protection {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).unwrap();
        Protection { key: LessSafeKey::new(key), iv: [9; NONCE_LEN], next }
    }

    fn open(by: &mut Protection, record: &[u8]) -> Result<(ContentType, Vec<u8>), Error> {
        let header = RecordHeader::read(record)?.unwrap();
        let mut out = vec![0; header.opened()];
        let (kind, length) = by.open(header, &record[RECORD_HEADER_BYTES..], &mut out)?;
        Ok((kind, out[..length].to_vec()))
    }

    fn sealed(by: &mut Protection, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let mut out = vec![0; content.len() + RECORD_OVERHEAD_BYTES];
        assert_eq!(by.seal(kind, content, &mut out).unwrap(), out.len());
        out
    }

    #[test]
    fn what_was_sealed_is_opened_in_order() {
        let (mut sealing, mut opening) = (protection(5), protection(5));
        let longest = vec![3; RECORD_CONTENT_BYTES];
        let contents = [
            (ContentType::ApplicationData, &b"bytes"[..]),
            (ContentType::Alert, &[1, 0]),
            (ContentType::ApplicationData, &longest),
        ];
        let records = contents.map(|(kind, content)| sealed(&mut sealing, kind, content));
        for (record, (kind, content)) in records.iter().zip(contents) {
            assert_eq!(open(&mut opening, record).unwrap(), (kind, content.to_vec()));
        }
        assert!(sealing.seal(ContentType::ApplicationData, &[longest, vec![3]].concat(), &mut [0; 20_000]).is_err());
        assert!(sealing.seal(ContentType::ApplicationData, b"bytes", &mut [0; 26]).is_err());
    }

    #[test]
    fn no_bit_may_change_and_no_record_come_again() {
        let record = sealed(&mut protection(0), ContentType::ApplicationData, b"bytes");
        for at in 0..record.len() * 8 {
            let mut touched = record.clone();
            touched[at / 8] ^= 1 << (at % 8);
            touched.resize(touched.len() + 256, 0);
            let length = usize::from(u16::from_be_bytes([touched[3], touched[4]]));
            touched.truncate(RECORD_HEADER_BYTES + length);
            assert!(open(&mut protection(0), &touched).is_err(), "bit {at}");
        }
        let mut opening = protection(0);
        open(&mut opening, &record).unwrap();
        assert_eq!(open(&mut opening, &record).unwrap_err(), Error::DecryptError);
    }

    #[test]
    fn padding_is_no_content_and_padding_alone_no_record() {
        let padded = |content: &[u8]| {
            let mut by = protection(0);
            let length = content.len() + TAG_BYTES;
            let [high, low] = (length as u16).to_be_bytes();
            let header = [23, 3, 3, high, low];
            let mut payload = content.to_vec();
            let nonce = by.nonce().unwrap();
            let tag = by.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut payload).unwrap();
            [&header[..], &payload, tag.as_ref()].concat()
        };
        let found = open(&mut protection(0), &padded(b"bytes\x17\0\0\0")).unwrap();
        assert_eq!(found, (ContentType::ApplicationData, b"bytes".to_vec()));
        assert_eq!(open(&mut protection(0), &padded(&[0; 9])).unwrap_err(), Error::DecryptError);
        let long = [vec![1; RECORD_CONTENT_BYTES + 1], vec![23]].concat();
        assert_eq!(open(&mut protection(0), &padded(&long)).unwrap_err(), Error::PeerSentOversizedRecord);
    }

    #[test]
    fn headers_of_other_lengths_and_kinds_are_refused() {
        assert_eq!(RecordHeader::read(&[23, 3, 3, 0]), Ok(None));
        assert_eq!(
            RecordHeader::read(&[23, 3, 3, 0, 17, 1]).map(|header| header.map(RecordHeader::opened)),
            Ok(Some(1))
        );
        assert_eq!(RecordHeader::read(&[23, 3, 3, 0, 16]), Err(Error::DecryptError));
        assert_eq!(RecordHeader::read(&[23, 3, 3, 0x41, 1]), Err(Error::PeerSentOversizedRecord));
        assert!(matches!(RecordHeader::read(&[21, 3, 3, 0, 2]), Err(Error::InappropriateMessage { .. })));
    }

    #[test]
    fn what_may_follow_a_handshake_is_told_from_what_may_not() {
        let key_update = LateMessage::KEY_UPDATE;
        assert_eq!(LateMessage::read(&key_update), Ok(Some((LateMessage::KeyUpdate, 5))));
        assert_eq!(LateMessage::read(&key_update[..4]), Ok(None));
        assert_eq!(LateMessage::read(&[24, 0, 0, 1, 1, 9]), Ok(Some((LateMessage::KeyUpdateRequest, 5))));
        assert_eq!(LateMessage::read(&[4, 0, 0, 2, 7, 7, 24]), Ok(Some((LateMessage::Ticket, 6))));
        for refused in [&[24, 0, 0, 1, 2][..], &[24, 0, 0, 0], &[4, 1, 0, 1], &[13, 0, 0, 0]] {
            assert!(LateMessage::read(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_key_is_spent_once() {
        let mut last = protection(KEY_RECORDS - 1);
        assert!(!last.is_spent());
        sealed(&mut last, ContentType::ApplicationData, b"");
        assert!(last.is_spent());
    }
}
