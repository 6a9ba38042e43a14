//! Changes of a document, each made twice: on the text, at its place, and on the value alone,
//! which says what the edited text must mean.

use std::ops::Range;

use serde_json::{Map, Value};

use super::space;
use super::tree::{self, Body, Form, Node, Style};
use super::write;

/// A value without its places.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plain {
    /// A text that no quotes are needed for is the same with and without them.
    Scalar(String, Style),
    Alias(usize),
    List(Vec<Plain>),
    Map(Vec<(Plain, Plain)>),
}

impl Plain {
    pub(super) fn of(node: &Node) -> Self {
        match &node.body {
            Body::Scalar { text, .. } if write::is_text(text) => Self::text(text),
            Body::Scalar { text, style } => Self::Scalar(text.clone(), *style),
            Body::Alias(anchor) => Self::Alias(*anchor),
            Body::List(items, _) => Self::List(items.iter().map(Self::of).collect()),
            Body::Map(entries, _) => {
                Self::Map(entries.iter().map(|(key, value)| (Self::of(key), Self::of(value))).collect())
            }
        }
    }

    fn text(text: &str) -> Self {
        Self::Scalar(text.to_owned(), Style::Quoted)
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Scalar(value.to_string(), Style::Plain),
            Value::Array(items) => Self::List(items.iter().map(Self::of_value).collect()),
            Value::Object(map) => Self::Map(Self::entries(map)),
        }
    }

    fn entries(map: &Map<String, Value>) -> Vec<(Self, Self)> {
        map.iter().map(|(key, value)| (Self::text(key), Self::of_value(value))).collect()
    }

    fn at_mut(&mut self, path: &[usize]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::List(items) => items.get_mut(*first)?.at_mut(rest),
            Self::Map(entries) => entries.get_mut(*first)?.1.at_mut(rest),
            _ => None,
        }
    }
}

/// One change of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) document: usize,
    /// The way to the node: which entry or item at each level.
    pub(super) path: Vec<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Entries before all others of a mapping that has some.
    Insert(Map<String, Value>),
    /// Entries in a mapping that is `{}`, or nothing.
    Fill(Map<String, Value>),
    /// Items before all others of a list.
    Prepend(Vec<Value>),
    /// Another text for a scalar, or another mapping for a mapping.
    Set(Value),
    /// What stood there once, as it was written.
    Restore(String),
    /// A mapping without these entries, or a list without these items.
    Remove(Vec<usize>),
}

impl Change {
    /// Whether the place has the form that the change needs, and nothing else repeats it.
    pub(super) fn is_possible(&self, documents: &[Node]) -> bool {
        let is_repeated = |node: &Node| node.anchor > 0 && documents[self.document].repeats(node.anchor);
        let Some(node) = self.find(documents, |node| !is_repeated(node)) else { return false };
        match &self.kind {
            // A key that is put beside `<<` would hide what is merged in.
            Kind::Insert(_) => !node.entries().is_empty() && node.position("<<").is_none(),
            Kind::Remove(_) => !node.entries().is_empty() || !node.items().is_empty(),
            Kind::Fill(_) => node.is_void(),
            Kind::Prepend(_) => matches!(node.body, Body::List(..)),
            Kind::Set(Value::Object(_)) => !node.entries().is_empty(),
            Kind::Set(value) => node.text().is_some() && value.is_string(),
            Kind::Restore(source) => parsed(source).is_some(),
        }
    }

    /// The node at the end of the way, if every node of the way may be passed.
    fn find<'d>(&self, documents: &'d [Node], may_pass: impl Fn(&Node) -> bool) -> Option<&'d Node> {
        let mut node = documents.get(self.document).filter(|node| may_pass(node))?;
        for step in &self.path {
            node = match &node.body {
                Body::List(items, _) => items.get(*step)?,
                Body::Map(entries, _) => &entries.get(*step)?.1,
                _ => return None,
            };
            if !may_pass(node) {
                return None;
            }
        }
        Some(node)
    }

    /// The byte after the colon of the key whose value is at the end of the way, where nothing
    /// stands behind it: no anchor, and no tag.
    fn colon(&self, text: &str, documents: &[Node]) -> Option<usize> {
        let (last, path) = self.path.split_last()?;
        let parent = Self { path: path.to_vec(), ..self.clone() };
        let (key, _) = parent.find(documents, |_| true)?.entries().get(*last)?;
        let colon = key.end + text[key.end..].find(':')? + 1;
        let behind = text[colon..].lines().next().unwrap_or_default().trim_start();
        (behind.is_empty() || behind.starts_with(['#', ',', '}'])).then_some(colon)
    }

    /// Makes the change on values. What isn't there isn't changed; the comparison then tells.
    pub(super) fn apply(&self, documents: &mut [Plain]) {
        let Some(place) = documents.get_mut(self.document).and_then(|document| document.at_mut(&self.path)) else {
            return;
        };
        match (&self.kind, place) {
            (Kind::Insert(new), Plain::Map(entries)) => drop(entries.splice(0..0, Plain::entries(new))),
            (Kind::Prepend(new), Plain::List(items)) => drop(items.splice(0..0, new.iter().map(Plain::of_value))),
            (Kind::Fill(new), place) => *place = Plain::Map(Plain::entries(new)),
            (Kind::Set(value), place) => *place = Plain::of_value(value),
            (Kind::Restore(source), place) => {
                if let Some(node) = parsed(source) {
                    *place = Plain::of(&node);
                }
            }
            (Kind::Remove(indexes), Plain::Map(entries)) => remove(entries, indexes),
            (Kind::Remove(indexes), Plain::List(items)) => remove(items, indexes),
            _ => {}
        }
    }

    /// The change on the text: what is replaced, and by what.
    fn edits(&self, text: &str, documents: &[Node]) -> Vec<(Range<usize>, String)> {
        let Some(node) = self.find(documents, |_| true) else { return Vec::new() };
        let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let whole = node.start..node.end;
        let one = |range: Range<usize>, new: String| vec![(range, new)];
        match &self.kind {
            Kind::Insert(new) => one(first(node)..first(node), inserted(text, node, new, line_end)),
            // Nothing stands nowhere: it goes behind the colon of its key.
            Kind::Fill(new) if whole.is_empty() => match self.colon(text, documents) {
                Some(colon) => one(colon..colon, format!(" {{{}}}", write::flow_entries(new))),
                None => Vec::new(),
            },
            Kind::Fill(new) => one(whole, format!("{{{}}}", write::flow_entries(new))),
            Kind::Prepend(new) => prepended(text, node, new, line_end),
            Kind::Set(value) => one(whole, set(text, node, value, line_end)),
            Kind::Restore(source) => one(whole, restored(text, &documents[self.document], node, source)),
            Kind::Remove(indexes) => {
                space::removal(text, node, indexes).into_iter().map(|range| (range, String::new())).collect()
            }
        }
    }
}

/// Where the first entry of a mapping begins.
fn first(node: &Node) -> usize {
    node.entries().first().map_or(node.start, |(key, _)| key.start)
}

fn inserted(text: &str, node: &Node, new: &Map<String, Value>, line_end: &str) -> String {
    if matches!(node.body, Body::Map(_, Form::Flow)) {
        return write::flow_entries(new) + ", ";
    }
    let indent = " ".repeat(space::column(text, node.start));
    format!("{}{line_end}{indent}", write::entries(new, &indent, line_end))
}

fn prepended(text: &str, node: &Node, new: &[Value], line_end: &str) -> Vec<(Range<usize>, String)> {
    match &node.body {
        Body::List(items, Form::Flow) => {
            let comma = if items.is_empty() { "" } else { ", " };
            let at = items.first().map_or(node.start + 1, |item| item.start);
            vec![(at..at, write::flow_items(new) + comma)]
        }
        _ => {
            let Some((at, column)) = space::before_items(text, node) else { return Vec::new() };
            let indent = " ".repeat(column);
            vec![(at..at, format!("{indent}{}{line_end}", write::items(new, &indent, line_end)))]
        }
    }
}

fn set(text: &str, node: &Node, value: &Value, line_end: &str) -> String {
    match (value, &node.body) {
        (Value::Object(new), Body::Map(_, Form::Block)) => {
            write::entries(new, &" ".repeat(space::column(text, node.start)), line_end)
        }
        // JSON has no text without quotes.
        (Value::String(new), _) if !text[node.start..].starts_with('"') => write::word(new),
        _ => write::flow(value),
    }
}

fn restored(text: &str, document: &Node, node: &Node, source: &str) -> String {
    // Between brackets there is no block, and in JSON nothing but JSON.
    let is_json = matches!(document.body, Body::Map(_, Form::Flow));
    let fits = match (is_json, &node.body) {
        (true, _) => serde_json::from_str::<Value>(source).is_ok(),
        (false, Body::Map(_, Form::Flow)) => source.starts_with('{'),
        (false, _) => true,
    };
    match parsed(source).and_then(|node| node.value()).filter(|_| !fits) {
        Some(value) => write::flow(&value),
        None => indented(source, margin(text, node)),
    }
}

/// The text of a node, as [`Kind::Restore`] takes it: its further lines without its margin.
pub(super) fn source(text: &str, node: &Node) -> String {
    let margin = margin(text, node);
    let mut lines = text[node.start..node.end].split('\n');
    let mut source = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let blank = line.bytes().take(margin).take_while(|byte| *byte == b' ').count();
        source = source + "\n" + &line[blank..];
    }
    source
}

/// How far the further lines of a node are indented at least.
fn margin(text: &str, node: &Node) -> usize {
    match node.body {
        Body::Map(_, Form::Flow) | Body::List(_, Form::Flow) => space::indent(text, node.start),
        _ => space::column(text, node.start),
    }
}

fn indented(source: &str, column: usize) -> String {
    let indent = |line: &str| if line.trim().is_empty() { line.to_owned() } else { " ".repeat(column) + line };
    let mut lines = source.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + "\n" + &indent(line))
}

/// A source's only value.
fn parsed(source: &str) -> Option<Node> {
    let mut found = tree::read(source).ok()?;
    if found.len() == 1 { found.pop() } else { None }
}

fn remove<T>(all: &mut Vec<T>, indexes: &[usize]) {
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        !indexes.contains(&(at - 1))
    });
}

/// Makes all changes on the text.
pub(super) fn apply(text: &str, documents: &[Node], changes: &[Change]) -> String {
    let mut edits: Vec<_> = changes.iter().flat_map(|change| change.edits(text, documents)).collect();
    edits.sort_by_key(|(range, _)| range.start);
    let mut edited = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        edited.replace_range(range, &new);
    }
    edited
}
