//! The only place that writes to the terminal.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;

use crate::failure::Failure;

/// A line on standard output. A reader that went away (`weft ps | head`) is no error.
pub(crate) fn line(text: &str) {
    written(writeln!(std::io::stdout(), "{text}"));
}

/// Text on standard output as it is.
pub(crate) fn raw(text: &str) {
    written(write!(std::io::stdout(), "{text}"));
}

/// Why not all of standard output was written: a full disk, say. To be asked at the end.
pub(crate) fn lost() -> Option<Failure> {
    written(std::io::stdout().flush());
    LOST.get().map(|why| Failure::new(format!("write to standard output: {why}")))
}

fn written(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        // The first one tells.
        let _told = LOST.set(error.to_string());
    }
}

static LOST: OnceLock<String> = OnceLock::new();

/// A line on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What is being waited for, in a line on standard error that the next one is written over; on a
/// terminal alone. `None` takes it away.
pub(crate) fn progress(text: Option<&str>) {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", text.unwrap_or_default());
    }
}

/// Whether somebody watches standard output.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// How many lines the terminal has; of one that doesn't say, as many as they once had.
pub(crate) fn height() -> usize {
    terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0))
}

/// How many columns the terminal has, likewise.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}

/// A text in place of what the terminal shows.
pub(crate) fn screen(text: &str) {
    let _ = writeln!(std::io::stdout(), "\x1b[H\x1b[2J{text}").and_then(|()| std::io::stdout().flush());
}

/// A line of a stream that nobody knows the end of.
///
/// # Errors
/// When the reader has gone: the stream should end.
pub(crate) fn stream_line(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// Text that came from elsewhere, without what a terminal would obey.
pub(crate) fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// As [`tame`], line by line.
pub(crate) fn tame_lines(text: &str) -> String {
    text.lines().map(tame).collect::<Vec<_>>().join("\n")
}

/// A value as JSON on standard output.
pub(crate) fn json(value: &impl Serialize) {
    // Our own values serialize: strings, numbers, lists and maps with string keys.
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    line(&text);
}

/// Manifests on standard output, whole: each ends its own line.
pub(crate) fn manifests(text: &str) {
    raw(text);
}

/// A failure on standard error: what and why, then what to do.
pub(crate) fn failure(failure: &Failure) {
    let red = paint(Stream::Err, "31", "error:");
    note(&format!("{red} {}", failure.message));
    if let Some(hint) = &failure.hint {
        note(&format!("{} {hint}", paint(Stream::Err, "36", "hint:")));
    }
}

/// Which stream a colour is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Colours `text` on a terminal, unless NO_COLOR is set (no-color.org).
pub(crate) fn paint(stream: Stream, code: &str, text: &str) -> String {
    let terminal = match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    };
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !refused { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A table whose columns align; the last one isn't padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = std::iter::once(&head).chain(rows).map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\na     1\nlong  22");
    }
}
