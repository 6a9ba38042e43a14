//! Heads of HTTP/1 messages: what stands in them, refused unless it can be read in one way only.
//!
//! A head is read where it lies; what this module gives back are places in the caller's buffer
//! and facts derived from them. `httparse` makes the tokens and refuses control bytes, folded
//! lines and blanks around names; `fields` and `facts` refuse what it lets through.

mod error;
mod facts;
mod fields;
mod request;
mod response;
mod target;

pub use error::HeadError;
pub(crate) use facts::parse_length;
pub use fields::{Field, Fields};
pub(crate) use fields::{FieldKind, FieldSpan, Line, locate};
pub use request::RequestHead;
pub use response::{Asked, AskedMethod, ResponseHead, Role};
pub use target::Target;

/// Reads heads one after another and keeps its memory (some bytes for each field) between them.
///
/// One parser serves one direction of one connection: after an incomplete head it remembers how
/// far it has searched, so that a head that comes byte by byte isn't parsed anew each time. What
/// is wrong with such a head may then be told only at its end.
#[derive(Debug, Default)]
pub struct HeadParser {
    spans: Vec<FieldSpan>,
    searched: usize,
}

/// The version of a message. Others are refused: a request gets 505 (RFC 9110, 15.6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a message's body is found (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// All bytes until the sender closes; responses only.
    UntilClose,
}

/// Whether the connection can carry another exchange after this one (RFC 9112, 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// It can.
    KeepAlive,
    /// It closes after this exchange.
    Close,
}

/// What a message says about a switch of protocols (RFC 9110, 7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// Nothing that a peer may act on.
    None,
    /// A switch is asked for or offered, to a protocol that isn't HTTP itself.
    Asked,
    /// A switch to HTTP/2 or TLS: it would carry requests past whoever judges requests, so it is
    /// not passed on. A server may always ignore the wish.
    Withheld,
}

impl HeadParser {
    /// A parser that has read nothing; allocates with its first head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was searched of an incomplete head, before bytes of another connection.
    pub fn reset(&mut self) {
        self.searched = 0;
    }

    /// Whether a parse can be spared: the bytes that came since the last call end no head.
    fn is_surely_incomplete(&mut self, bytes: &[u8]) -> bool {
        if self.searched == 0 || bytes.len() < self.searched || bytes.len() >= MAX_HEAD_BYTES {
            return false;
        }
        let fresh = &bytes[self.searched.saturating_sub(3)..];
        let is_end = |at: usize| matches!(fresh[at..], [b'\n', b'\n', ..] | [b'\n', b'\r', b'\n', ..]);
        let incomplete = !(0..fresh.len()).any(is_end);
        self.searched = bytes.len();
        incomplete
    }

    /// Takes note of a head whose end hasn't come.
    fn incomplete<T>(&mut self, bytes: &[u8]) -> Result<Option<T>, HeadError> {
        if bytes.len() >= MAX_HEAD_BYTES {
            return Err(HeadError::TooLarge);
        }
        self.searched = bytes.len();
        Ok(None)
    }
}

/// The most bytes of a head, its empty last line included: 64 KiB.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most fields of a head.
pub const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests;
