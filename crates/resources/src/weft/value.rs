//! Values that several fields have.

use crate::notes::{Notes, Spot};
use crate::yaml::Value;

/// A list of at least one text.
pub(super) fn words(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let items = spot.items(notes)?;
    if items.is_empty() || items.iter().any(|item| item.node.text().is_some_and(|text| text.contains('\0'))) {
        notes.expected(spot, "a program and its arguments, without NUL");
    }
    items.iter().map(|item| item.text(notes).map(str::to_owned)).collect()
}

/// A port.
pub(super) fn number(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<u16> {
    let port = match &spot.node.value {
        Value::Number(text) => text.parse().ok().filter(|port: &u16| *port > 0),
        _ => None,
    };
    if port.is_none() {
        notes.expected(spot, "a port of 1 to 65535");
    }
    port
}
