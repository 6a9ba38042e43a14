//! The sidecar written into a template, and taken out of it again.
//!
//! What it is the injector says (`crate::inject::patch`); here its outcome becomes changes of the text.
//! What stood where something else is written, such as a probe, is kept as it was written in an
//! annotation, from which it comes back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::edit::{Change, Kind, source};
use super::tree::{Body, Node};
use crate::inject::{self, CREATED_BY, Config, PROXY_VERSION, Settings, TOKEN_VOLUME};
use crate::names::{CONTROL_PLANE, INIT_CONTAINER, INJECTED, PROXY_CONTAINER};

/// A pod or template of a text.
#[derive(Clone, Copy)]
pub(super) struct Template<'d> {
    pub(super) text: &'d str,
    pub(super) document: usize,
    pub(super) node: &'d Node,
    pub(super) path: &'d [usize],
}

impl Template<'_> {
    /// The changes that give it a sidecar. `pod` is what it says, with what else is to be written.
    pub(super) fn with_sidecar(self, mut pod: Value, settings: &Settings, config: &Config) -> Vec<Change> {
        let before = self.node.value().unwrap_or_default();
        let operations = inject::patch(&pod, settings, config).operations;
        inject::apply(&mut pod, &operations);
        let units: Vec<&str> = operations.iter().filter_map(inject::Operation::replaced).collect();
        let replaced = self.replaced(&before, &pod, &units);
        if !replaced.is_empty() {
            pod["metadata"]["annotations"][REPLACED] = Value::from(Value::Object(replaced).to_string());
        }
        let mut changes = Vec::new();
        Difference { document: self.document, units: &units, changes: &mut changes }.of(
            self.node,
            &pod,
            self.path.to_vec(),
            "",
        );
        changes
    }

    /// What stood where something else comes, by its place: as it was written, or nothing.
    fn replaced(self, before: &Value, after: &Value, units: &[&str]) -> Map<String, Value> {
        let place = |pointer: &str| {
            let (names, node) = self.named(pointer)?;
            Some((names, Value::from(source(self.text, node))))
        };
        let mut replaced: Map<String, Value> = units.iter().filter_map(|unit| place(unit)).collect();
        let annotations = after["metadata"]["annotations"].as_object();
        for (key, value) in annotations.into_iter().flatten().filter(|(key, _)| !OWN_MARKS.contains(&key.as_str())) {
            let pointer = format!("/metadata/annotations/{}", inject::escape(key));
            match &before["metadata"]["annotations"][key.as_str()] {
                Value::Null => drop(replaced.insert(pointer, Value::Null)),
                old if old != value => replaced.extend(place(&pointer)),
                _ => {}
            }
        }
        replaced
    }

    /// A place by names, in which a container has its own name for its number, and what is there.
    fn named(&self, pointer: &str) -> Option<(String, &Node)> {
        let (mut node, mut names) = (self.node, String::new());
        for token in pointer.split('/').skip(1) {
            let step = step(node, token)?;
            (node, names) = (child(node, step)?, format!("{names}/{}", name(node, step).unwrap_or(token)));
        }
        Some((names, node))
    }

    /// The changes that take a sidecar out, and the marks `more` beside its own.
    pub(super) fn without_sidecar(self, more: &[&str]) -> Vec<Change> {
        let (mut changes, mut gone) = (Vec::new(), BTreeSet::new());
        for (pointer, source) in self.kept() {
            let Some(way) = self.way(&pointer) else { continue };
            match source {
                Some(source) => {
                    let path = [self.path, &way].concat();
                    changes.push(Change { document: self.document, path, kind: Kind::Restore(source) });
                }
                None => drop(gone.insert(way)),
            }
        }
        let named = |list: &str, name: &str| self.way(&format!("/spec/{list}/{name}"));
        gone.extend([INIT_CONTAINER, PROXY_CONTAINER].iter().filter_map(|name| named("initContainers", name)));
        gone.extend(named("volumes", TOKEN_VOLUME));
        for (map, keys) in [("annotations", [&OWN_MARKS[..], more].concat()), ("labels", OWN_LABELS.to_vec())] {
            let mark = |key: &&str| self.way(&format!("/metadata/{map}/{}", inject::escape(key)));
            gone.extend(keys.iter().filter_map(mark));
        }
        changes.extend(super::remove::remove(self.document, self.node, self.path, gone));
        changes
    }

    /// What the annotation keeps; nothing where it can't be read.
    fn kept(self) -> BTreeMap<String, Option<String>> {
        let annotations = self.node.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let text = annotations.and_then(|all| all.get(REPLACED)).and_then(Node::text);
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The way to a place by names.
    fn way(self, pointer: &str) -> Option<Vec<usize>> {
        let (mut node, mut way) = (self.node, Vec::new());
        for token in pointer.split('/').skip(1) {
            let step = step(node, token)?;
            way.push(step);
            node = child(node, step)?;
        }
        Some(way)
    }
}

/// A step of a JSON pointer (RFC 6901): a key, or an item's number or name.
fn step(node: &Node, token: &str) -> Option<usize> {
    let named = || (0..node.items().len()).find(|at| name(node, *at) == Some(token));
    match &node.body {
        Body::List(..) => named().or_else(|| token.parse().ok()),
        _ => node.position(&token.replace("~1", "/").replace("~0", "~")),
    }
}

fn child(node: &Node, step: usize) -> Option<&Node> {
    node.entries().get(step).map(|(_, value)| value).or_else(|| node.items().get(step))
}

fn name(node: &Node, item: usize) -> Option<&str> {
    node.items().get(item)?.get("name")?.text()
}

/// The changes between what a node says and what it shall say.
struct Difference<'c> {
    document: usize,
    /// Places that are written anew as a whole.
    units: &'c [&'c str],
    changes: &'c mut Vec<Change>,
}

impl Difference<'_> {
    fn of(&mut self, node: &Node, after: &Value, path: Vec<usize>, pointer: &str) {
        match (&node.body, after) {
            _ if self.units.contains(&pointer) => self.push(path, Kind::Set(after.clone())),
            (Body::Map(entries, _), Value::Object(wanted)) if !entries.is_empty() => {
                let absent = wanted.iter().filter(|(key, _)| node.position(key).is_none());
                let new: Map<String, Value> = absent.map(|(key, value)| (key.clone(), value.clone())).collect();
                if !new.is_empty() {
                    self.push(path.clone(), Kind::Insert(new));
                }
                for (at, (key, value)) in entries.iter().enumerate() {
                    let Some((key, wanted)) = key.text().and_then(|key| wanted.get_key_value(key)) else { continue };
                    let pointer = format!("{pointer}/{}", inject::escape(key));
                    self.of(value, wanted, [path.as_slice(), &[at]].concat(), &pointer);
                }
            }
            (_, Value::Object(wanted)) if node.is_void() && wanted.is_empty() => {}
            (_, Value::Object(wanted)) if node.is_void() => self.push(path, Kind::Fill(wanted.clone())),
            (Body::List(items, _), Value::Array(wanted)) => {
                let new = wanted.len().saturating_sub(items.len());
                if new > 0 {
                    self.push(path.clone(), Kind::Prepend(wanted[..new].to_vec()));
                }
                for (at, (item, wanted)) in items.iter().zip(&wanted[new..]).enumerate() {
                    self.of(item, wanted, [path.as_slice(), &[at]].concat(), &format!("{pointer}/{at}"));
                }
            }
            _ if node.value().as_ref() != Some(after) => self.push(path, Kind::Set(after.clone())),
            _ => {}
        }
    }

    fn push(&mut self, path: Vec<usize>, kind: Kind) {
        self.changes.push(Change { document: self.document, path, kind });
    }
}

/// The annotation that keeps what stood where something else was written: places, and their texts.
const REPLACED: &str = "weft.io/replaced";
const OWN_MARKS: [&str; 3] = [CREATED_BY, PROXY_VERSION, REPLACED];
const OWN_LABELS: [&str; 2] = [INJECTED, CONTROL_PLANE];
