//! Protected records of TLS, and the messages that follow a handshake.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ContentType};
use weft_identity::{
    LateMessage, Protection, RECORD_CONTENT_BYTES, RECORD_HEADER_BYTES, RECORD_OVERHEAD_BYTES, RecordHeader,
};

use crate::support::input::ends;

/// `RecordHeader::read`, `Protection` and `LateMessage::read`.
///
/// # Panics
/// When a record that was never sealed is opened, when a sealed one isn't opened as it was, or when a
/// split changes a message.
pub fn identity_protection(data: &[u8]) {
    if let Ok(Some(header)) = RecordHeader::read(data)
        && let Some(payload) = data[RECORD_HEADER_BYTES..].get(..header.payload())
    {
        let mut out = vec![0; header.opened()];
        assert!(protection().open(header, payload, &mut out).is_err(), "a record that nobody sealed");
    }
    let content = &data[..data.len().min(RECORD_CONTENT_BYTES)];
    let mut record = vec![0; content.len() + RECORD_OVERHEAD_BYTES];
    let sealed = protection().seal(ContentType::ApplicationData, content, &mut record);
    assert_eq!(sealed, Ok(record.len()));
    let Ok(Some(header)) = RecordHeader::read(&record) else { panic!("no header of a record") };
    let mut out = vec![0; header.opened()];
    let opened = protection().open(header, &record[RECORD_HEADER_BYTES..], &mut out);
    assert_eq!(opened, Ok((ContentType::ApplicationData, content.len())));
    assert_eq!(&out[..content.len()], content);
    late(data);
}

fn late(data: &[u8]) {
    let whole = LateMessage::read(data);
    for end in ends(data) {
        match LateMessage::read(&data[..end]) {
            Ok(None) => {}
            settled => assert_eq!(settled, whole),
        }
    }
    if let Ok(Some((_, length))) = whole {
        assert!((4..=data.len()).contains(&length));
    }
}

fn protection() -> Protection {
    let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
    let made = Protection::new((3, ConnectionTrafficSecrets::Aes256Gcm { key, iv }));
    made.unwrap_or_else(|error| panic!("expected a key, found {error}"))
}
