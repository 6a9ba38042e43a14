//! Values that several fields have.

use crate::notes::{Notes, Spot};
use crate::yaml::Value;

/// A list of at least one text.
pub(super) fn words(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let items = spot.items(notes)?;
    if items.is_empty() {
        notes.expected(spot, "a program and its arguments");
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
