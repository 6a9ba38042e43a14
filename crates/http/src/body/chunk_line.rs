//! The line before a chunk's data (RFC 9112, 7.1 and 7.1.1), without the blanks it allows.
//!
//! ```text
//! 1*16HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] ) CRLF
//! ```

use super::{BodyError, MAX_CHUNK_LINE_BYTES};
use crate::token::is_token_byte;

/// A size line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkLine {
    /// The bytes of data that follow; 0 for the last chunk.
    pub(super) size: u64,
    /// The line's own bytes, CRLF included.
    pub(super) length: usize,
}

/// Reads a size line from the start of `bytes`; `None` when its end hasn't come.
pub(super) fn read_chunk_line(bytes: &[u8]) -> Result<Option<ChunkLine>, BodyError> {
    let bound = bytes.len().min(MAX_CHUNK_LINE_BYTES);
    let end = bytes[..bound].iter().position(|&byte| byte == b'\n');
    let line = match end {
        Some(end) => bytes[..end].strip_suffix(b"\r").ok_or(BodyError::ChunkSize)?,
        // What can't become a size line is refused at once and not waited for, nor called too long.
        None if !is_hopeful(bytes) => return Err(BodyError::ChunkSize),
        None if bound == MAX_CHUNK_LINE_BYTES => return Err(BodyError::ChunkLineTooLong),
        None => return Ok(None),
    };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(digits);
    let size = parse_size(digits).ok_or(BodyError::ChunkSize)?;
    if !are_extensions(extensions) {
        return Err(BodyError::ChunkSize);
    }
    Ok(Some(ChunkLine { size, length: line.len() + 2 }))
}

/// Whether a line whose end isn't there may begin so.
fn is_hopeful(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let begins = (1..=MAX_DIGITS).contains(&digits) || bytes.is_empty();
    begins && matches!(bytes.get(digits), None | Some(b';' | b'\r'))
}

/// A size below 2^63, because some readers count in signed numbers.
fn parse_size(digits: &[u8]) -> Option<u64> {
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let size = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    (size <= i64::MAX as u64).then_some(size)
}

fn are_extensions(mut text: &[u8]) -> bool {
    while let Some((&first, rest)) = text.split_first() {
        let Some(rest) = skip_token(rest).filter(|_| first == b';') else { return false };
        let after = match rest.split_first() {
            Some((b'=', value)) => skip_token(value).or_else(|| skip_quoted(value)),
            _ => Some(rest),
        };
        let Some(after) = after else { return false };
        text = after;
    }
    true
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|&&byte| is_token_byte(byte)).count();
    if length == 0 { None } else { text.get(length..) }
}

/// RFC 9110, 5.6.4.
fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.strip_prefix(b"\"")?;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        bytes = match byte {
            b'"' => return Some(rest),
            b'\\' => rest.split_first().filter(|(byte, _)| is_text(**byte))?.1,
            _ if is_text(byte) => rest,
            _ => return None,
        };
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// So many digits fit 64 bits.
const MAX_DIGITS: usize = 16;
