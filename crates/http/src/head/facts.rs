//! What the fields of a head say about framing, the connection and the host.

use super::{FieldKind, Fields, Framing, HeadError, Persistence, Upgrade, Version};
use crate::token::{elements, is_token};

/// The facts of one head; each field is noted as it comes, and what contradicts is refused.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) host: Option<&'a [u8]>,
    pub(super) expects_continue: bool,
    option_bytes: usize,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade: Upgrade,
}

impl<'a> Facts<'a> {
    /// The facts of a head of this version.
    pub(super) fn of(fields: Fields<'a>, version: Version) -> Result<Self, HeadError> {
        let mut facts = Self {
            content_length: None,
            chunked: false,
            host: None,
            expects_continue: false,
            option_bytes: 0,
            close: false,
            keep_alive: false,
            upgrade_option: false,
            upgrade: Upgrade::None,
        };
        for line in fields.lines().filter(|line| line.kind != FieldKind::Other) {
            facts.note(line.kind, line.field.value)?;
        }
        // RFC 9112, 6.1: a coding on HTTP/1.0 means that the framing is faulty.
        if facts.chunked && version == Version::Http10 {
            return Err(HeadError::TransferEncoding);
        }
        if facts.chunked && facts.content_length.is_some() {
            return Err(HeadError::TwoFramings);
        }
        // RFC 9110, 7.8 and 10.1.1: neither is acted on when it comes by HTTP/1.0.
        facts.expects_continue &= version == Version::Http11;
        facts.upgrade_option &= version == Version::Http11;
        Ok(facts)
    }

    /// How a body is framed, or `None` where nothing says so.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.content_length {
            Some(length) => Some(Framing::Length(length)),
            None if self.chunked => Some(Framing::Chunked),
            None => None,
        }
    }

    /// Whether content is announced: a coding, or a length other than 0.
    pub(super) fn announces_content(&self) -> bool {
        self.chunked || self.content_length.is_some_and(|length| length > 0)
    }

    /// What the connection's options mean where `version` sets the default.
    pub(super) fn persistence(&self, version: Version) -> Persistence {
        match version {
            _ if self.close => Persistence::Close,
            Version::Http10 if !self.keep_alive => Persistence::Close,
            _ => Persistence::KeepAlive,
        }
    }

    /// A wish for another protocol counts only if the connection's options name it, too; one for
    /// HTTP/2 or TLS is withheld in any case, because lenient servers act on the field alone.
    pub(super) fn upgrade(&self) -> Upgrade {
        match self.upgrade {
            Upgrade::Asked if !self.upgrade_option => Upgrade::None,
            upgrade => upgrade,
        }
    }

    fn note(&mut self, kind: FieldKind, value: &'a [u8]) -> Result<(), HeadError> {
        match kind {
            FieldKind::Connection => return self.note_options(value),
            FieldKind::ContentLength => {
                let length = parse_length(value).ok_or(HeadError::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(HeadError::ContentLength);
                }
            }
            FieldKind::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            FieldKind::Host => match self.host.replace(value) {
                None => {}
                Some(_) => return Err(HeadError::RepeatedHost),
            },
            FieldKind::Expect => {
                self.expects_continue |= elements(value).any(|item| item.eq_ignore_ascii_case(b"100-continue"));
            }
            FieldKind::Upgrade => self.note_protocols(value),
            FieldKind::Disguised => return Err(HeadError::FieldName),
            _ => {}
        }
        Ok(())
    }

    fn note_options(&mut self, value: &[u8]) -> Result<(), HeadError> {
        // Rewriting looks each field up among the options, so that their number must be bounded.
        self.option_bytes += value.len();
        if self.option_bytes > MAX_OPTION_BYTES {
            return Err(HeadError::ConnectionOption);
        }
        for option in elements(value) {
            if !is_token(option) {
                return Err(HeadError::ConnectionOption);
            }
            match FieldKind::of(option) {
                FieldKind::KeepAlive => self.keep_alive = true,
                FieldKind::Upgrade => self.upgrade_option = true,
                // A receiver would take away what frames or routes the message.
                FieldKind::Host | FieldKind::ContentLength | FieldKind::TransferEncoding => {
                    return Err(HeadError::ConnectionOption);
                }
                _ => self.close |= option.eq_ignore_ascii_case(b"close"),
            }
        }
        Ok(())
    }

    fn note_protocols(&mut self, value: &[u8]) {
        for protocol in elements(value) {
            let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
            let hides_requests = HIDING_PROTOCOLS.iter().any(|hiding| name.eq_ignore_ascii_case(hiding.as_bytes()));
            if hides_requests {
                self.upgrade = Upgrade::Withheld;
            } else if self.upgrade == Upgrade::None {
                self.upgrade = Upgrade::Asked;
            }
        }
    }
}

/// Reads a content length: digits only, below 2^63, because some readers count in signed numbers.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = str::from_utf8(value).ok()?.parse().ok()?;
    (length <= i64::MAX as u64).then_some(length)
}

/// The most bytes of all `Connection` values of a head.
const MAX_OPTION_BYTES: usize = 1024;

/// Protocols inside which requests would pass unseen.
const HIDING_PROTOCOLS: [&str; 4] = ["h2c", "h2", "http", "tls"];
