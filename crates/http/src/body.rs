//! Bodies of HTTP/1 messages: how many of the bytes at hand belong to one, and whether it is over.
//!
//! ```text
//!              size line           data              CRLF
//! chunked:  Size ───────> Data ─────────> DataEnd ─────────┐
//!            │ ^───────────────────────────────────────────┘
//!            └─ size 0 ──> Trailers ── empty line ──> Over
//! length:   Data ── none left ──> Over          until close:  UntilClose ── end of stream ──> Over
//! ```
//!
//! The reader copies nothing and decodes nothing: it says where the parts lie, so that raw bytes
//! are passed on unchanged. It is stricter than RFC 9112, 7.1: no blanks in a size line, no bare
//! CR or LF, at most 16 digits. Chunk extensions are passed on if they follow the grammar.

mod chunk_line;
mod trailers;
mod write;

pub use trailers::{MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS};
pub(crate) use trailers::{is_refused_trailer, parse_trailers};
pub use write::{write_chunk_start, write_last_chunk};

use crate::head::{Framing, HeadError};
use chunk_line::{ChunkLine, read_chunk_line};

/// Reads one body, whatever its framing.
#[derive(Debug, Clone, Copy)]
pub struct BodyReader {
    state: State,
    refused_trailers: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of data, at least one, and what comes after them.
    Data(u64, After),
    DataEnd,
    Size,
    Trailers,
    UntilClose,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Over,
    DataEnd,
}

/// The next part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes from the start, at least one, are content.
    Data(usize),
    /// So many bytes from the start frame chunks.
    Framing(usize),
    /// So many bytes from the start are the trailer section, from its first field to its empty
    /// line. It comes whole, so that [`crate::bridge::trailers_to_h2`] can read it.
    Trailers(usize),
    /// What is at hand is no whole part; call again with these bytes and more.
    NeedMore,
    /// The body is over; what follows belongs to the next message.
    Over,
}

/// How many bytes of a buffer belong to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// So many bytes from the start belong to it and may be passed on. What remains belongs to
    /// the next message if the body is over; else it waits for more (less than a size line's or
    /// trailer section's bound).
    pub length: usize,
    /// Whether the body is over.
    pub over: bool,
}

/// Why bytes are no body. The connection must be closed on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BodyError {
    /// A size line that isn't hexadecimal digits and well-formed extensions (RFC 9112, 7.1).
    #[error("expected a chunk size of 1 to 16 hexadecimal digits, found another size line")]
    ChunkSize,
    /// A size line beyond the bound.
    #[error("expected a size line of at most {MAX_CHUNK_LINE_BYTES} bytes, found more")]
    ChunkLineTooLong,
    /// Data that isn't followed by CRLF where its size says so.
    #[error("expected CRLF after a chunk's data, found something else")]
    ChunkEnd,
    /// A trailer section beyond the bound.
    #[error("expected at most {MAX_TRAILER_BYTES} bytes of trailers, found more")]
    TrailersTooLarge,
    /// A trailer field that no head might have.
    #[error("trailers: {0}")]
    Trailers(HeadError),
    /// A trailer field that frames, routes or authenticates (RFC 9110, 6.5.1).
    #[error("expected trailers that can be merged or ignored, found a field that only a head may have")]
    RefusedTrailer,
    /// The sender closed before the body was over.
    #[error("expected the rest of the body, found the end of the stream")]
    Truncated,
}

impl BodyReader {
    /// A reader of a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Data(length, After::Over),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, refused_trailers: &[] }
    }

    /// Refuses trailers of these names, too: some servers merge trailers into the head's fields,
    /// so what is taken out of heads must not come in by this door. Compared like
    /// [`crate::rewrite::Edits::remove`].
    #[must_use]
    pub fn refusing_trailers(self, names: &'static [&'static str]) -> Self {
        Self { refused_trailers: names, ..self }
    }

    /// Whether the body is over. One without content is over from the start.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// How many bytes from the start of `bytes` belong to the body.
    ///
    /// # Errors
    /// [`BodyError`] when no later bytes can make it a body that is passed on.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Taken, BodyError> {
        let mut length = 0;
        loop {
            match self.step(&bytes[length..])? {
                Step::Data(part) | Step::Framing(part) | Step::Trailers(part) => length += part,
                Step::NeedMore => return Ok(Taken { length, over: false }),
                Step::Over => return Ok(Taken { length, over: true }),
            }
        }
    }

    /// The next part of the body, which begins where `bytes` begin. The bytes of a part that was
    /// returned aren't given again.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        match self.state {
            State::Over => Ok(Step::Over),
            _ if bytes.is_empty() => Ok(Step::NeedMore),
            State::UntilClose => Ok(Step::Data(bytes.len())),
            State::Data(left, after) => Ok(self.data(left, after, bytes.len())),
            State::Size => self.size(bytes),
            State::DataEnd => self.data_end(bytes),
            State::Trailers => self.trailers(bytes),
        }
    }

    /// Takes note that the sender closed.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when its framing promised more.
    pub fn end_of_stream(&mut self) -> Result<(), BodyError> {
        if !matches!(self.state, State::UntilClose | State::Over) {
            return Err(BodyError::Truncated);
        }
        self.state = State::Over;
        Ok(())
    }

    fn data(&mut self, left: u64, after: After, available: usize) -> Step {
        let length = usize::try_from(left).map_or(available, |left| left.min(available));
        self.state = match left - length as u64 {
            0 if after == After::Over => State::Over,
            0 => State::DataEnd,
            left => State::Data(left, after),
        };
        Step::Data(length)
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let Some(ChunkLine { size, length }) = read_chunk_line(bytes)? else { return Ok(Step::NeedMore) };
        self.state = if size == 0 { State::Trailers } else { State::Data(size, After::DataEnd) };
        Ok(Step::Framing(length))
    }

    fn data_end(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(Step::Framing(2))
            }
            [b'\r'] => Ok(Step::NeedMore),
            _ => Err(BodyError::ChunkEnd),
        }
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        if bytes.starts_with(b"\r\n") {
            self.state = State::Over;
            return Ok(Step::Framing(2));
        }
        let Some(length) = trailers::check(bytes, self.refused_trailers)? else { return Ok(Step::NeedMore) };
        self.state = State::Over;
        Ok(Step::Trailers(length))
    }
}

/// The most bytes of a chunk's size line, extensions and CRLF included.
pub const MAX_CHUNK_LINE_BYTES: usize = 256;

#[cfg(test)]
mod tests;
