//! Reading single fields, with the field's path in every error.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use super::RecordError;

/// The result of reading a field.
pub(super) type Read<T> = Result<T, RecordError>;

impl RecordError {
    /// A field that holds `found` where `expected` should stand.
    pub(super) fn field(field: &str, expected: &'static str, found: impl Display) -> Self {
        Self::Field { field: field.to_owned(), expected, found: found.to_string() }
    }

    /// The same error seen from outside of `outer`.
    pub(super) fn within(self, outer: &str) -> Self {
        match self {
            Self::Field { field, expected, found } if field.is_empty() => {
                Self::Field { field: outer.to_owned(), expected, found }
            }
            Self::Field { field, expected, found } => {
                Self::Field { field: format!("{outer}.{field}"), expected, found }
            }
            other => other,
        }
    }
}

/// A message that must be there.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| RecordError::field(field, "a message", "nothing"))
}

/// Every item of a list, each read by `read`.
pub(super) fn list<T, R>(field: &str, items: Vec<T>, mut read: impl FnMut(T) -> Read<R>) -> Read<Vec<R>> {
    let read_one = |(at, item)| read(item).map_err(|error| error.within(&format!("{field}[{at}]")));
    items.into_iter().enumerate().map(read_one).collect()
}

/// A text that must not be empty.
pub(super) fn text(field: &str, value: String) -> Read<String> {
    match value.is_empty() {
        true => Err(RecordError::field(field, "a text", "nothing")),
        false => Ok(value),
    }
}

/// A name that `T` checks.
pub(super) fn name<T: FromStr>(field: &str, expected: &'static str, value: &str) -> Read<T> {
    value.parse().map_err(|_| RecordError::field(field, expected, format!("{value:?}")))
}

/// An address of 4 or 16 bytes.
pub(super) fn address(field: &str, bytes: &[u8]) -> Read<IpAddr> {
    let wrong = || RecordError::field(field, "an address of 4 or 16 bytes", format!("{} bytes", bytes.len()));
    match bytes.len() {
        4 => Ok(IpAddr::from(<[u8; 4]>::try_from(bytes).map_err(|_| wrong())?)),
        16 => Ok(IpAddr::from(<[u8; 16]>::try_from(bytes).map_err(|_| wrong())?)),
        _ => Err(wrong()),
    }
}

/// Addresses, each of 4 or 16 bytes.
pub(super) fn addresses(field: &str, items: Vec<Vec<u8>>) -> Read<Vec<IpAddr>> {
    list(field, items, |bytes| address("", &bytes))
}

/// A port of 1 to 65535.
pub(super) fn port(field: &str, value: u32) -> Read<u16> {
    match u16::try_from(value) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(RecordError::field(field, "a port of 1 to 65535", value)),
    }
}

/// Ports of records are ascending, each once: they are looked up by halving.
pub(super) fn ascending<T>(field: &str, items: &[T], port: impl Fn(&T) -> u16) -> Read<()> {
    match items.windows(2).position(|pair| port(&pair[0]) >= port(&pair[1])) {
        None => Ok(()),
        Some(at) => Err(RecordError::field(
            &format!("{field}[{}]", at + 1),
            "ports in ascending order, each once",
            format!("{} after {}", port(&items[at + 1]), port(&items[at])),
        )),
    }
}

/// A value of an enum whose 0 doesn't mean anything.
pub(super) fn choice<P: TryFrom<i32>, T>(field: &str, value: i32, known: impl Fn(P) -> Option<T>) -> Read<T> {
    let found = P::try_from(value).ok().and_then(known);
    found.ok_or_else(|| RecordError::field(field, "a value that is known here", value))
}

/// An address's bytes.
pub(super) fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
