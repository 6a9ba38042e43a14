//! Reading single texts of a records file, with the field's path in every error.

use std::fmt::Display;
use std::str::FromStr;

use weft_mesh::record::{AppProtocol, Pattern};

use super::FileError;

/// The result of reading a field.
pub(super) type Read<T> = Result<T, FileError>;

/// What can't be used: which field, what may stand there, what does.
pub(super) fn wrong(field: impl Display, expected: impl Display, found: impl Display) -> FileError {
    FileError::Field { field: field.to_string(), expected: expected.to_string(), found: found.to_string() }
}

/// A text that `T` reads.
pub(super) fn parse<T: FromStr>(field: impl Display, expected: &str, text: &str) -> Read<T> {
    text.parse().map_err(|_| wrong(field, expected, format!("{text:?}")))
}

/// Every item of a list, each read by `read` with its own path.
pub(super) fn list<T, R>(field: impl Display, items: &[T], read: impl Fn(&str, &T) -> Read<R>) -> Read<Vec<R>> {
    items.iter().enumerate().map(|(at, item)| read(&format!("{field}[{at}]"), item)).collect()
}

/// A port that isn't 0.
pub(super) fn port(field: impl Display, port: u16) -> Read<u16> {
    if port == 0 { Err(wrong(field, "a port of 1 to 65535", 0)) } else { Ok(port) }
}

/// What is spoken on a port; nothing said: the first bytes tell.
pub(super) fn protocol(field: impl Display, word: Option<&str>) -> Read<AppProtocol> {
    Ok(match word {
        None => AppProtocol::Detect,
        Some("http") => AppProtocol::Http,
        Some("http2") => AppProtocol::Http2,
        Some("grpc") => AppProtocol::Grpc,
        Some("tcp") => AppProtocol::Tcp,
        Some(other) => return Err(wrong(field, "http, http2, grpc or tcp", format!("{other:?}"))),
    })
}

/// Texts as Istio writes them, with `*` at one end.
pub(super) fn patterns(values: &[String]) -> Vec<Pattern> {
    values.iter().map(|value| Pattern::parse(value)).collect()
}

/// Sorts by port; each port may stand once.
pub(super) fn sorted<T>(field: &str, mut ports: Vec<T>, of: impl Fn(&T) -> u16) -> Read<Vec<T>> {
    ports.sort_by_key(&of);
    match ports.windows(2).find(|pair| of(&pair[0]) == of(&pair[1])) {
        Some(pair) => Err(wrong(field, "each port once", format!("{} twice", of(&pair[0])))),
        None => Ok(ports),
    }
}
