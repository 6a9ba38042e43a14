//! From the events of `saphyr-parser` to trees, within bounds: depth, number of values (aliases
//! counted as often as they are used), unique keys. It never recurses over what the user wrote.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::node::{Entry, Node, Place, Value};
use super::scalar;

/// How many values a file may still hold.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: MAX_NODES }
    }
}

/// Why the rest of a chunk could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Place,
    /// `expected …, found …`.
    pub(crate) message: String,
    /// The line of the chunk, from 0, at which the faulty document may begin.
    pub(crate) document_begin: usize,
}

/// The documents of a chunk whose first line is `first_line` of the file; and the fault that ended
/// reading, if one did. Documents before the fault are whole.
pub(crate) fn read(text: &str, first_line: u32, budget: &mut Budget) -> (Vec<Node>, Option<Fault>) {
    let mut documents = Vec::new();
    let mut document_begin = 0;
    let end = end(text);
    let place = |line: usize, column: usize| {
        // What is missing at the end, the parser misses on the line after it.
        let (line, column) = if line > end.0 { end } else { (line, column) };
        Place {
            line: first_line.saturating_add(u32::try_from(line.saturating_sub(1)).unwrap_or(u32::MAX)),
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
        }
    };
    if let Some((line, column, found)) = forbidden_character(text) {
        let message = format!("expected text, found the control character U+{found:04X}");
        return (documents, Some(Fault { at: place(line, column), message, document_begin }));
    }
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::new(budget);
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                let at = place(error.marker().line(), error.marker().col());
                let message = mistake(error.info());
                return (documents, Some(Fault { at, message, document_begin }));
            }
        };
        let at = place(span.start.line(), span.start.col());
        let end_line = span.end.line().saturating_sub(1);
        match builder.take(event, at) {
            Ok(None) => {}
            Ok(Some(document)) => {
                documents.push(document);
                document_begin = end_line;
            }
            Err(message) => return (documents, Some(Fault { at, message, document_begin })),
        }
    }
    (documents, None)
}

/// What the parser says, in the words of those who made the mistake.
fn mistake(said: &str) -> String {
    let known = MISTAKES.iter().find(|(part, _)| said.contains(part));
    known.map_or_else(|| format!("expected YAML, found a mistake in it: {said}"), |(_, message)| (*message).to_owned())
}

/// The last line, from 1, and how many characters it has.
fn end(text: &str) -> (usize, usize) {
    (text.lines().count().max(1), text.lines().next_back().unwrap_or_default().chars().count())
}

/// The first character that no YAML file may hold (YAML 1.2.2, section 5.1), with its line from 1
/// and column from 0. The parser takes NUL for the end: the rest of a file would be lost unseen.
fn forbidden_character(text: &str) -> Option<(usize, usize, u32)> {
    let forbidden = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let at = text.find(forbidden)?;
    let found = text[at..].chars().next()?;
    let line_begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[..at].matches('\n').count() + 1;
    Some((line, text[line_begin..at].chars().count(), u32::from(found)))
}

/// Builds one document after another.
struct Builder<'b> {
    budget: &'b mut Budget,
    /// Open lists and mappings, outermost first.
    open: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
}

/// A list or mapping that isn't closed yet.
struct Frame {
    at: Place,
    anchor: usize,
    content: Content,
    /// Values inside so far, itself included.
    size: usize,
    /// The greatest depth inside so far.
    height: usize,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, keys: HashSet<String>, key: Option<(String, Place)>, merged: Vec<Node> },
}

/// A finished value that aliases can repeat.
struct Anchored {
    node: Node,
    size: usize,
    height: usize,
}

impl<'b> Builder<'b> {
    fn new(budget: &'b mut Budget) -> Self {
        Self { budget, open: Vec::new(), root: None, anchors: HashMap::new() }
    }

    /// Takes an event; gives the document when it is the one that ends it.
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<Option<Node>, String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(&text, style, tag.as_deref());
                self.finish(Anchored { node: Node { at, value }, size: 1, height: 0 }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.enter(at, anchor, Content::List(Vec::new()))?,
            Event::MappingStart(anchor, _) => {
                let (entries, keys) = (Vec::new(), HashSet::new());
                self.enter(at, anchor, Content::Map { entries, keys, key: None, merged: Vec::new() })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave()?,
            Event::Alias(anchor) => self.repeat(anchor, at)?,
            Event::DocumentEnd => {
                self.anchors.clear();
                return Ok(self.root.take());
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(None)
    }

    fn enter(&mut self, at: Place, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("expected at most {MAX_DEPTH} levels of nesting, found more"));
        }
        self.spend(1)?;
        self.open.push(Frame { at, anchor, content, size: 1, height: 0 });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), String> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, mut keys, merged, .. } => {
                for from in merged {
                    merge(&mut entries, &mut keys, from)?;
                }
                Value::Map(entries)
            }
        };
        let done = Anchored { node: Node { at: frame.at, value }, size: frame.size, height: frame.height + 1 };
        self.place(done, frame.anchor)
    }

    /// A scalar is counted here; a list or mapping was when it was opened.
    fn finish(&mut self, done: Anchored, anchor: usize) -> Result<(), String> {
        self.spend(1)?;
        self.place(done, anchor)
    }

    fn repeat(&mut self, anchor: usize, at: Place) -> Result<(), String> {
        let Some(known) = self.anchors.get(&anchor) else {
            return Err("expected an alias of a finished value, found one of a value around it".to_owned());
        };
        if self.open.len() + known.height > MAX_DEPTH {
            return Err(format!("expected at most {MAX_DEPTH} levels of nesting, found more by an alias"));
        }
        let (size, height) = (known.size, known.height);
        self.spend(size)?;
        let Some(known) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = Node { at, value: known.node.value.clone() };
        self.place(Anchored { node, size, height }, 0)
    }

    fn spend(&mut self, nodes: usize) -> Result<(), String> {
        self.budget.nodes =
            self.budget.nodes.checked_sub(nodes).ok_or_else(|| {
                format!("expected at most {MAX_NODES} values in a file, aliases resolved, found more")
            })?;
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, done: Anchored, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.spend(done.size)?;
            let kept = Anchored { node: done.node.clone(), size: done.size, height: done.height };
            self.anchors.insert(anchor, kept);
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(done.node);
            return Ok(());
        };
        frame.size += done.size;
        frame.height = frame.height.max(done.height);
        frame.content.put(done.node)
    }
}

impl Content {
    fn put(&mut self, node: Node) -> Result<(), String> {
        let (entries, keys, pending, merged) = match self {
            Self::List(items) => {
                items.push(node);
                return Ok(());
            }
            Self::Map { entries, keys, key, merged } => (entries, keys, key, merged),
        };
        let Some((key, at)) = pending.take() else {
            let Some(text) = key_text(&node.value) else {
                let hint = if matches!(node.value, Value::Map(_)) { TEMPLATE_HINT } else { "" };
                return Err(format!("expected a text as key, found {}{hint}", node.describe()));
            };
            if !keys.insert(text.clone()) {
                return Err(format!("expected each key once, found {} again", crate::problem::quoted(&text)));
            }
            *pending = Some((text, node.at));
            return Ok(());
        };
        if key == MERGE_KEY {
            merged.push(node);
        } else {
            // What isn't written stands nowhere: its key's place serves better than the next token's.
            let value = if node.value == Value::Null { Node { at, ..node } } else { node };
            entries.push(Entry { key, at, value });
        }
        Ok(())
    }
}

/// `<<: *defaults` (YAML 1.1 merge): keys that the mapping hasn't itself.
fn merge(entries: &mut Vec<Entry>, keys: &mut HashSet<String>, from: Node) -> Result<(), String> {
    let sources = match from.value {
        Value::List(items) => items,
        _ => vec![from],
    };
    for source in sources {
        let Value::Map(merged) = source.value else {
            return Err(format!("expected a mapping to merge, found {}", source.describe()));
        };
        entries.extend(merged.into_iter().filter(|entry| keys.insert(entry.key.clone())));
    }
    Ok(())
}

fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(text) | Value::Text(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style == ScalarStyle::Plain && !is_text { scalar::plain(text) } else { Value::Text(text.to_owned()) }
}

const TAB: &str = "expected spaces for indentation, found a tab";
/// What part of the parser's words means what mistake, most likely.
const MISTAKES: &[(&str, &str)] = &[
    ("tabs disallowed", TAB),
    ("tab cannot be used", TAB),
    ("found a tab", TAB),
    (
        "while scanning an anchor or alias",
        "expected quotes around a value that begins with '*' or '&' (such as \"*\"), found none",
    ),
    (
        "mapping values are not allowed",
        "expected KEY: VALUE, indented as its neighbours are, found a ':' where no key can stand",
    ),
    ("while scanning a quoted scalar", "expected a text that ends with its quote, found none up to here"),
    ("simple key expect ':'", "expected KEY: VALUE, found a line without ':'"),
    ("illegal placement of ':'", "expected ']' or '}' where a list or mapping ends, found the next key"),
    ("while parsing a flow sequence", "expected ',' or ']' in a list that began with '[', found neither"),
    ("while parsing a flow mapping", "expected ',' or '}' in a mapping that began with '{', found neither"),
];

/// Deeper than any resource of Kubernetes goes, and shallow enough to be walked by recursion.
const MAX_DEPTH: usize = 64;
/// Some ten thousand policies; more in one file is an alias bomb or no file of resources.
const MAX_NODES: usize = 500_000;
const TEMPLATE_HINT: &str = " (a template such as {{ … }} must be rendered first)";
const MERGE_KEY: &str = "<<";

#[cfg(test)]
mod tests;
