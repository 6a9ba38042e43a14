//! A text's documents as trees whose nodes know their places in it. Bounded in depth.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::ManifestError;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its first byte; of a block collection, that of its first key or item.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
    /// Whether it has an anchor, so that an alias may repeat it.
    pub(super) anchor: usize,
    pub(super) body: Body,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Scalar { text: String, style: Style },
    Alias(usize),
    List(Vec<Node>, Form),
    Map(Vec<(Node, Node)>, Form),
}

/// How a scalar is written, as far as it changes its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// In quotes, or with an anchor or a tag.
    Quoted,
}

/// How a collection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Block,
    /// In brackets, as in JSON.
    Flow,
}

impl Node {
    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.body {
            Body::Map(entries, _) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.body {
            Body::List(items, _) => items,
            _ => &[],
        }
    }

    /// Where a key stands among the entries.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.entries().iter().position(|(found, _)| found.text() == Some(key))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.position(key).map(|at| &self.entries()[at].1)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether an alias in it repeats what bears this anchor.
    pub(super) fn repeats(&self, anchor: usize) -> bool {
        match &self.body {
            Body::Scalar { .. } => false,
            Body::Alias(found) => *found == anchor,
            Body::List(items, _) => items.iter().any(|item| item.repeats(anchor)),
            Body::Map(entries, _) => entries.iter().any(|(key, value)| key.repeats(anchor) || value.repeats(anchor)),
        }
    }

    /// What it says; `None` where an alias says it elsewhere, or a key isn't a text or is there twice.
    pub(super) fn value(&self) -> Option<Value> {
        Some(match &self.body {
            Body::Scalar { text, style: Style::Quoted } => Value::from(text.as_str()),
            Body::Scalar { .. } if self.is_void() => Value::Null,
            Body::Scalar { text, .. } => plain(text),
            Body::Alias(_) => return None,
            Body::List(items, _) => Value::Array(items.iter().map(Self::value).collect::<Option<_>>()?),
            Body::Map(entries, _) => {
                let entry = |(key, value): &(Node, Node)| Some((key.text()?.to_owned(), value.value()?));
                let map = entries.iter().map(entry).collect::<Option<Map<_, _>>>()?;
                return (map.len() == entries.len()).then_some(Value::Object(map));
            }
        })
    }

    /// Whether it is nothing, or a collection without content that is written `{}`.
    pub(super) fn is_void(&self) -> bool {
        match &self.body {
            Body::Scalar { text, style: Style::Plain } => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            Body::Map(entries, Form::Flow) => entries.is_empty(),
            _ => false,
        }
    }
}

/// The documents of a text.
///
/// # Errors
/// [`ManifestError::Syntax`].
pub(super) fn read(text: &str) -> Result<Vec<Node>, ManifestError> {
    let offsets = Offsets::of(text);
    let mut builder = Builder { text, open: Vec::new(), documents: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| ManifestError::Syntax { line: error.marker().line(), message: error.info().to_owned() })?;
        builder
            .take(event, offsets.place(&span))
            .map_err(|message| ManifestError::Syntax { line: span.start.line(), message: message.to_owned() })?;
    }
    Ok(builder.documents)
}

/// A scalar without quotes, as Kubernetes reads it.
fn plain(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // JSON's numbers are YAML's; what else YAML takes for one no field of a pod has.
        _ => serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| Value::from(text)),
    }
}

/// The line of a byte, from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// From characters, in which the parser counts, to bytes.
struct Offsets {
    length: usize,
    /// `None` where both are the same.
    bytes: Option<Vec<usize>>,
}

impl Offsets {
    fn of(text: &str) -> Self {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { length: text.len(), bytes }
    }

    fn place(&self, span: &Span) -> (usize, usize) {
        (self.byte(span.start.index()), self.byte(span.end.index()))
    }

    fn byte(&self, character: usize) -> usize {
        match &self.bytes {
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.length),
            None => character.min(self.length),
        }
    }
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    documents: Vec<Node>,
}

/// A collection whose end hasn't come.
struct Open {
    start: usize,
    anchor: usize,
    form: Form,
    children: Children,
}

enum Children {
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, key: Option<Node> },
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, (start, end): (usize, usize)) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // An anchor or a tag before nothing makes something of it.
                let is_bare = anchor == 0 && tag.is_none();
                let style = if style == ScalarStyle::Plain && is_bare { Style::Plain } else { Style::Quoted };
                self.put(Node { start, end, anchor, body: Body::Scalar { text: text.into_owned(), style } });
            }
            Event::Alias(anchor) => self.put(Node { start, end, anchor: 0, body: Body::Alias(anchor) }),
            Event::SequenceStart(anchor, _) => self.enter(start, anchor, Children::List(Vec::new()))?,
            Event::MappingStart(anchor, _) => {
                self.enter(start, anchor, Children::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(end),
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, start: usize, anchor: usize, children: Children) -> Result<(), &'static str> {
        if self.open.len() >= MAX_DEPTH {
            return Err("it is nested too deeply");
        }
        let form = match self.text.as_bytes().get(start) {
            Some(b'{' | b'[') => Form::Flow,
            _ => Form::Block,
        };
        self.open.push(Open { start, anchor, form, children });
        Ok(())
    }

    fn leave(&mut self, end: usize) {
        let Some(Open { start, anchor, form, children }) = self.open.pop() else { return };
        let (first, last, body) = match children {
            Children::List(items) => {
                (items.first().map(|it| it.start), items.last().map(|it| it.end), Body::List(items, form))
            }
            Children::Map { entries, .. } => {
                let (first, last) = (entries.first().map(|(key, _)| key.start), entries.last().map(|(_, it)| it.end));
                (first, last, Body::Map(entries, form))
            }
        };
        let (start, end) = match form {
            Form::Flow => (start, end),
            Form::Block => (first.unwrap_or(start), last.unwrap_or(end)),
        };
        self.put(Node { start, end, anchor, body });
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.children) {
            None => self.documents.push(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Map { entries, key }) => match key.take() {
                None => *key = Some(node),
                Some(found) => entries.push((found, node)),
            },
        }
    }
}

/// No manifest is nested so deeply.
const MAX_DEPTH: usize = 128;
