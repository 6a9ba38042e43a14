//! `to[].operation`: what is called.

use weft_mesh::record::{Matches, PathPattern};

use super::values::{matches, port_text, text};
use crate::notes::{Fields, Notes, Spot};

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
    let Some(outer) = item.fields(&["operation"], notes) else { return Operation::default() };
    let Some(spot) = outer.field("operation") else {
        notes.error(item.node.at, &format!("{}.operation", item.path), "expected a mapping, found none".to_owned());
        return Operation::default();
    };
    let Some(fields) = spot.fields(FIELDS, notes) else { return Operation::default() };
    let (operation, defect) = notes.watched(|notes| read_fields(&fields, notes));
    if defect.is_none() && operation == Operation::default() {
        notes.error(spot.node.at, &spot.path, "expected at least one field with values, found none".to_owned());
    }
    operation
}

fn read_fields(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Operation {
    Operation {
        hosts: matches(fields, ("hosts", "notHosts"), notes, text),
        ports: matches(fields, ("ports", "notPorts"), notes, port_text),
        methods: matches(fields, ("methods", "notMethods"), notes, text),
        paths: matches(fields, ("paths", "notPaths"), notes, path),
    }
}

fn path(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<PathPattern> {
    match PathPattern::parse(spot.filled(notes)?) {
        Ok(path) => Some(path),
        Err(error) => {
            notes.error(spot.node.at, &spot.path, error.to_string());
            None
        }
    }
}

const FIELDS: &[&str] = &["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];
