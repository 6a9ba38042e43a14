//! Cuts a file at its `---` lines, so that a mistake in one document can't reach another.
//!
//! YAML knows no other meaning for `---` at the begin of a line (YAML 1.2.2, section 9.1.2), so
//! this needs no parser, and works on bytes that aren't even UTF-8.

/// A part of a file between `---` lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'b> {
    /// The line in the file at which the part begins, from 1.
    pub(crate) first_line: u32,
    pub(crate) bytes: &'b [u8],
}

/// The parts of a file, in order. A `---` line belongs to the part that it opens.
pub(crate) fn split(bytes: &[u8]) -> Vec<Chunk<'_>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut chunks = Vec::new();
    let (mut begin, mut first_line) = (0, 1);
    let (mut at, mut line_number) = (0, 1);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if is_marker(line) && at > begin {
            chunks.push(Chunk { first_line, bytes: &bytes[begin..at] });
            (begin, first_line) = (at, line_number);
        }
        at += line.len();
        line_number += 1;
    }
    if at > begin {
        chunks.push(Chunk { first_line, bytes: &bytes[begin..at] });
    }
    chunks
}

fn is_marker(line: &[u8]) -> bool {
    line.strip_prefix(b"---").is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
}

/// UTF-8's form of U+FEFF, which some editors put first.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_at_its_markers() {
        let parts = |text: &'static str| -> Vec<(u32, &str)> {
            split(text.as_bytes()).iter().map(|c| (c.first_line, std::str::from_utf8(c.bytes).unwrap())).collect()
        };
        assert_eq!(parts(""), []);
        assert_eq!(parts("a: 1\n"), [(1, "a: 1\n")]);
        assert_eq!(parts("\u{feff}a: 1\n---\nb: 2"), [(1, "a: 1\n"), (2, "---\nb: 2")]);
        assert_eq!(parts("---\r\na\r\n--- # x\nb\n---"), [(1, "---\r\na\r\n"), (3, "--- # x\nb\n"), (5, "---")]);
        assert_eq!(parts("a: |\n ---\n----\n---a\n"), [(1, "a: |\n ---\n----\n---a\n")]);
    }
}
