//! Heads of responses, whose meaning depends on what was asked.

use std::mem::MaybeUninit;

use super::facts::Facts;
use super::{
    Fields, Framing, HeadError, HeadParser, MAX_FIELDS, MAX_HEAD_BYTES, Persistence, Upgrade, Version, locate,
};

/// A response's head, where it lies in the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// The status, 100 to 999.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// The fields.
    pub fields: Fields<'a>,
    /// What it means for the exchange.
    pub role: Role,
    /// The body's framing.
    pub framing: Framing,
    /// Whether the server would go on using the connection. A client of HTTP/1.0 must have been
    /// told so in words.
    pub persistence: Persistence,
    /// Whether the server offers or does switch to another protocol.
    pub upgrade: Upgrade,
    /// The head from its version to its empty line; so many bytes of the buffer it took.
    pub bytes: &'a [u8],
}

/// What a response means for its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// 1xx but 101: passed on, and another response follows (RFC 9110, 15.2).
    Interim,
    /// The answer.
    Final,
    /// 101, or success of a CONNECT: HTTP ends here; what follows on both sides are plain bytes.
    Switched,
}

/// What a response's reader must know of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The method.
    pub method: AskedMethod,
    /// The request's version.
    pub version: Version,
    /// Whether another protocol was asked for.
    pub upgrade: Upgrade,
    /// What the client said of its connection.
    pub persistence: Persistence,
}

impl Asked {
    /// Whether the answer is a message, whatever it says, and never the start of another protocol.
    pub fn is_plain(self) -> bool {
        self.method != AskedMethod::Connect && self.upgrade != Upgrade::Asked
    }
}

/// The methods that change how a response is read (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AskedMethod {
    /// The response has no body, whatever its fields say.
    Head,
    /// Success turns the connection into a tunnel.
    Connect,
    /// Any other.
    Other,
}

impl HeadParser {
    /// Reads a response's head from the start of `bytes`; `None` when its end hasn't come. The
    /// next call then gets the same bytes and more.
    ///
    /// No empty line before it is skipped. The space after the status may be missing along with
    /// the reason: some servers leave it out, and it can't be misread.
    ///
    /// # Errors
    /// [`HeadError`] when no later bytes can make it a head that is passed on; the client's
    /// answer is 502.
    pub fn response<'a>(&'a mut self, bytes: &'a [u8], asked: Asked) -> Result<Option<ResponseHead<'a>>, HeadError> {
        if matches!(bytes, [b'\r' | b'\n', ..]) {
            return Err(HeadError::LineEnd);
        }
        let bytes = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
        if bytes.is_empty() || self.is_surely_incomplete(bytes) {
            return Ok(None);
        }
        self.searched = 0;
        let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut slots) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return self.incomplete(bytes),
            Err(error) => return Err(response_error(error)),
        };
        let bytes = &bytes[..length];
        locate(bytes, parsed.headers, &mut self.spans)?;
        let (Some(status @ 100..=999), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(HeadError::StatusLine);
        };
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        judge(status, version, Fields::new(bytes, &self.spans), asked).map(Some)
    }
}

fn judge(status: u16, version: Version, fields: Fields<'_>, asked: Asked) -> Result<ResponseHead<'_>, HeadError> {
    let facts = Facts::of(fields, version)?;
    let role = match status {
        101 => Role::Switched,
        100..=199 => Role::Interim,
        200..=299 if asked.method == AskedMethod::Connect => Role::Switched,
        _ => Role::Final,
    };
    if status == 101 && (asked.upgrade != Upgrade::Asked || facts.upgrade() != Upgrade::Asked) {
        return Err(HeadError::Switch);
    }
    // RFC 9112, 6.1 and RFC 9110, 8.6 forbid both fields here. A length of 0 contradicts nothing.
    if (role != Role::Final || status == 204) && facts.announces_content() {
        return Err(HeadError::Content);
    }
    let is_empty = role != Role::Final || asked.method == AskedMethod::Head || matches!(status, 204 | 304);
    let framing = match facts.framing() {
        _ if is_empty => Framing::Empty,
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    // A server that wants to keep a connection to an old client says so.
    let default = if asked.version == Version::Http10 { Version::Http10 } else { version };
    let persistence = match facts.persistence(default) {
        _ if framing == Framing::UntilClose || role == Role::Switched => Persistence::Close,
        persistence => persistence,
    };
    let upgrade = facts.upgrade();
    Ok(ResponseHead { status, version, fields, role, framing, persistence, upgrade, bytes: fields.section() })
}

fn response_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Status | httparse::Error::Token => HeadError::StatusLine,
    }
}
