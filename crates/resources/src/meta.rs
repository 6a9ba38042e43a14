//! `metadata`, as far as the mesh looks at it.

use std::collections::BTreeMap;

use crate::names::{is_label, is_subdomain};
use crate::nearest::{distance, nearest};
use crate::notes::{Fields, Notes, Spot, unknown_field};
use crate::problem::ResourceRef;
use crate::yaml::{Node, Place, Value};

/// Name and place of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The namespace, [`DEFAULT_NAMESPACE`] when none is written; `None` when it can't be told.
    pub namespace: Option<String>,
    /// The name; `None` when it can't be told.
    pub name: Option<String>,
    /// The annotations whose values are texts.
    pub annotations: BTreeMap<String, String>,
    /// `creationTimestamp` in UTC, such as `2026-01-31T12:00:00.000000000Z`: always of this form,
    /// so that texts sort by time.
    pub created: Option<String>,
    /// The file, as it was named to [`crate::parse`].
    pub file: String,
    /// The line of the resource's first key, from 1.
    pub line: u32,
}

/// Where a resource without a namespace lives.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Reads `metadata` of the resource `root`. What is wrong there is noted.
pub(crate) fn read(root: &Fields<'_>, at: Place, notes: &mut Notes<'_>) -> Meta {
    let mut meta = Meta { file: notes.file().to_owned(), line: at.line, ..Meta::default() };
    let Some(spot) = root.field("metadata") else {
        notes.error(at, "metadata", "expected a mapping with a name, found no such field".to_owned());
        return meta;
    };
    let Some(fields) = spot.entries(notes) else { return meta };
    let misspelt = unknown(&fields, notes);
    meta.name = name(&fields, spot.node.at, notes);
    if !misspelt {
        meta.namespace = namespace(&fields, notes);
    }
    meta.annotations = annotations(&fields, notes);
    meta.created = created(&fields, notes);
    meta
}

/// What a resource seems to be called, before anything of it is judged.
pub(crate) fn reference(kind: &str, root: &Node) -> ResourceRef {
    let text = |key: &str| root.child("metadata").and_then(|meta| meta.child(key)).and_then(Node::text);
    let names_nothing = |key: &str| match root.child("metadata").map(|meta| (&meta.value, meta.child(key))) {
        Some((Value::Map(_), None)) => true,
        Some((_, Some(node))) => node.value == Value::Null,
        _ => false,
    };
    let fallback = names_nothing("namespace").then_some(DEFAULT_NAMESPACE);
    ResourceRef {
        kind: kind.to_owned(),
        namespace: text("namespace").or(fallback).map(str::to_owned),
        name: text("name").map(str::to_owned),
    }
}

/// Notes unknown fields; tells whether one of them may be a misspelt `namespace`. The others mean
/// nothing to the mesh, so they are no defects.
fn unknown(fields: &Fields<'_>, notes: &mut Notes<'_>) -> bool {
    let mut misspelt = false;
    for (entry, spot) in fields.iter().filter(|(entry, _)| !FIELDS.contains(&entry.key.as_str())) {
        let message = match BESIDE.contains(&entry.key.as_str()) {
            true => "expected this field beside metadata, found it inside".to_owned(),
            false => unknown_field(&entry.key, FIELDS),
        };
        if nearest(&entry.key, FIELDS) == Some("namespace") && distance(&entry.key, "namespace") <= 3 {
            misspelt = true;
            notes.error(entry.at, &spot.path, message);
        } else {
            notes.warning(entry.at, &spot.path, message);
        }
    }
    misspelt
}

fn name(fields: &Fields<'_>, at: Place, notes: &mut Notes<'_>) -> Option<String> {
    let Some(spot) = fields.field("name") else {
        notes.error(at, &format!("{}.name", fields.path()), "expected a name, found no such field".to_owned());
        return None;
    };
    let text = spot.text(notes)?;
    if !is_subdomain(text) {
        notes.expected(&spot, "a name of a-z, 0-9, '-' and '.', at most 253 characters");
        return None;
    }
    Some(text.to_owned())
}

fn namespace(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let unset = |spot: &Spot<'_>| spot.node.value == Value::Null || spot.node.text() == Some("");
    let Some(spot) = fields.field("namespace").filter(|spot| !unset(spot)) else {
        return Some(DEFAULT_NAMESPACE.to_owned());
    };
    let text = spot.text(notes)?;
    if !is_label(text) {
        notes.expected(&spot, "a namespace of a-z, 0-9 and '-', at most 63 characters");
        return None;
    }
    Some(text.to_owned())
}

fn annotations(fields: &Fields<'_>, notes: &mut Notes<'_>) -> BTreeMap<String, String> {
    let Some(spot) = fields.field("annotations").filter(|spot| spot.node.value != Value::Null) else {
        return BTreeMap::new();
    };
    let mut annotations = BTreeMap::new();
    let Value::Map(entries) = &spot.node.value else {
        let message = format!("expected a mapping, found {}", spot.node.describe());
        notes.harmless_error(spot.node.at, &spot.path, message);
        return annotations;
    };
    for entry in entries {
        if let Some(text) = entry.value.text() {
            annotations.insert(entry.key.clone(), text.to_owned());
            continue;
        }
        let path = format!("{}[{:?}]", spot.path, entry.key);
        let message = format!("expected a text (in quotes), found {}", entry.value.describe());
        notes.harmless_error(entry.value.at, &path, message);
    }
    annotations
}

fn created(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let spot = fields.field("creationTimestamp").filter(|spot| spot.node.value != Value::Null)?;
    let time = spot.node.text().and_then(utc);
    if time.is_none() {
        let message = format!("expected a time such as 2026-01-31T12:00:00Z, found {}", spot.node.describe());
        notes.warning(spot.node.at, &spot.path, message);
    }
    time
}

/// RFC 3339 in UTC, as API servers write it: `YYYY-MM-DDTHH:MM:SS[.fraction]Z`. The fraction is
/// brought to nine digits.
fn utc(text: &str) -> Option<String> {
    let time = text.strip_suffix('Z')?;
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fits = |(found, shape): (u8, u8)| if shape == b'0' { found.is_ascii_digit() } else { found == shape };
    let shaped = seconds.len() == SHAPE.len() && seconds.bytes().zip(SHAPE.bytes()).all(fits);
    let digits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    (shaped && digits).then(|| format!("{seconds}.{fraction:0<9}Z"))
}

const SHAPE: &str = "0000-00-00T00:00:00";

/// What stands inside of `metadata` by a wrong indentation.
const BESIDE: &[&str] = &["apiVersion", "kind", "spec", "status"];

/// The fields of Kubernetes's `ObjectMeta`.
const FIELDS: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
