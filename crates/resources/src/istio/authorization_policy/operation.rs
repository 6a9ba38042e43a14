//! `to[].operation`: what is called.

use weft_mesh::record::{Matches, PathPattern};

use super::values::{matches, port_text, starred, text};
use crate::notes::{Fields, Notes, Spot};
use crate::problem::quoted;

/// What is called; every field that is written must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// `hosts`: HTTP authorities.
    pub hosts: Matches<String>,
    /// `ports` of the workload.
    pub ports: Matches<u16>,
    /// `methods` of HTTP.
    pub methods: Matches<String>,
    /// `paths`: texts, or valid templates where they hold `{*}` or `{**}`.
    pub paths: Matches<PathPattern>,
}

/// Reads an item of `to`. What isn't understood restricts nothing.
pub(super) fn read(item: &Spot<'_>, notes: &mut Notes<'_>) -> Operation {
    let Some(spot) = item.only_child("operation", FIELDS, notes) else { return Operation::default() };
    let (read, defect) = notes.watched(|notes| spot.fields(FIELDS, notes).map(|fields| read_fields(&fields, notes)));
    let operation = read.unwrap_or_default();
    if defect.is_none() && operation == Operation::default() {
        notes.error(spot.node.at, &spot.path, "expected at least one field with values, found none".to_owned());
    }
    operation
}

fn read_fields(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Operation {
    Operation {
        hosts: matches(fields, ("hosts", "notHosts"), notes, text),
        ports: matches(fields, ("ports", "notPorts"), notes, port_text),
        methods: matches(fields, ("methods", "notMethods"), notes, method),
        paths: matches(fields, ("paths", "notPaths"), notes, path),
    }
}

/// A method, with the case that HTTP gives it.
fn method(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let method = text(spot, notes)?;
    let upper = method.to_ascii_uppercase();
    if method != upper && METHODS.contains(&upper.as_str()) {
        notes.unmatched(spot, &format!("{upper} in capital letters"), "no usual request");
    }
    Some(method)
}

fn path(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<PathPattern> {
    let text = spot.filled(notes)?;
    if !text.starts_with(['/', '*']) && !text.contains(['{', '}']) {
        notes.unmatched(spot, "a path that begins with '/' or '*'", "no path");
    } else if text.ends_with(".*") {
        let message = format!("expected no regular expression, found {}: '.' stands for itself", quoted(text));
        notes.warning(spot.node.at, &spot.path, message);
    } else {
        starred(spot, text, notes);
    }
    match PathPattern::parse(text) {
        Ok(path) => Some(path),
        Err(error) => {
            notes.error(spot.node.at, &spot.path, error.to_string());
            None
        }
    }
}

/// Of RFC 9110, section 9.3, and PATCH (RFC 5789).
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const FIELDS: &[&str] = &["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];
