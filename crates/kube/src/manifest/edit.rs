//! Changes of a document, each made twice: on the text, at its place, and on the value alone,
//! which says what the edited text must mean.

use super::tree::{Body, Form, Node, Style};

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
            Body::Scalar { text, .. } if is_text(text) => Self::Scalar(text.clone(), Style::Quoted),
            Body::Scalar { text, style } => Self::Scalar(text.clone(), *style),
            Body::Alias(anchor) => Self::Alias(*anchor),
            Body::List(items, _) => Self::List(items.iter().map(Self::of).collect()),
            Body::Map(entries, _) => {
                Self::Map(entries.iter().map(|(key, value)| (Self::of(key), Self::of(value))).collect())
            }
        }
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

/// What is written: an annotation's text, or a mapping of such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum New {
    Text(String),
    Map(Vec<(String, New)>),
}

impl New {
    fn plain(&self) -> Plain {
        match self {
            Self::Text(text) => Plain::Scalar(text.clone(), Style::Quoted),
            Self::Map(entries) => Plain::Map(plain_entries(entries)),
        }
    }

    /// In brackets, which is JSON as well.
    fn flow(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Map(entries) => format!("{{{}}}", flow_entries(entries)),
        }
    }

    /// Behind `key:`, its lines indented.
    fn block(&self, indent: &str, line_end: &str) -> String {
        match self {
            Self::Text(text) => format!(" {}", written(text)),
            Self::Map(entries) => {
                let indent = format!("{indent}  ");
                format!("{line_end}{indent}{}", block_entries(entries, &indent, line_end))
            }
        }
    }
}

fn plain_entries(entries: &[(String, New)]) -> Vec<(Plain, Plain)> {
    entries.iter().map(|(key, value)| (Plain::Scalar(key.clone(), Style::Quoted), value.plain())).collect()
}

fn flow_entries(entries: &[(String, New)]) -> String {
    entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), value.flow())).collect::<Vec<_>>().join(", ")
}

fn block_entries(entries: &[(String, New)], indent: &str, line_end: &str) -> String {
    let lines = entries.iter().map(|(key, value)| format!("{key}:{}", value.block(indent, line_end)));
    lines.collect::<Vec<_>>().join(&format!("{line_end}{indent}"))
}

/// Words stand as they are; whatever could be read as something else is quoted.
fn written(text: &str) -> String {
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if is_word && is_text(text) { text.to_owned() } else { quoted(text) }
}

/// Whether YAML reads it as a text even without quotes.
fn is_text(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !matches!(text, "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n")
}

/// JSON's quoting, which YAML reads alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One change of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) document: usize,
    /// The way to the mapping: which entry or item at each level.
    pub(super) path: Vec<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Entries before all others of a mapping that has some.
    Insert(Vec<(String, New)>),
    /// Entries in a mapping that is `{}`, or nothing.
    Fill(Vec<(String, New)>),
    /// Another text for a scalar.
    Set(String),
    /// A mapping without these entries.
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
            Kind::Remove(_) => !node.entries().is_empty(),
            Kind::Fill(_) => node.is_void(),
            Kind::Set(_) => node.text().is_some(),
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
            (Kind::Insert(new), Plain::Map(entries)) => {
                entries.splice(0..0, plain_entries(new));
            }
            (Kind::Fill(new), place) => *place = Plain::Map(plain_entries(new)),
            (Kind::Set(text), place) => *place = Plain::Scalar(text.clone(), Style::Quoted),
            (Kind::Remove(indexes), Plain::Map(entries)) => {
                let mut at = 0;
                entries.retain(|_| {
                    at += 1;
                    !indexes.contains(&(at - 1))
                });
            }
            _ => {}
        }
    }

    /// The change on the text: what is replaced, and by what.
    fn edits(&self, text: &str, documents: &[Node]) -> Vec<(std::ops::Range<usize>, String)> {
        let Some(node) = self.find(documents, |_| true) else { return Vec::new() };
        let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        match (&self.kind, &node.body) {
            (Kind::Insert(new), Body::Map(entries, Form::Flow)) => {
                let at = entries.first().map_or(node.start + 1, |(key, _)| key.start);
                vec![(at..at, flow_entries(new) + ", ")]
            }
            (Kind::Insert(new), _) => {
                let indent = " ".repeat(column(text, node.start));
                vec![(node.start..node.start, format!("{}{line_end}{indent}", block_entries(new, &indent, line_end)))]
            }
            // Nothing stands nowhere: it goes behind the colon of its key.
            (Kind::Fill(new), _) if node.start == node.end => match self.colon(text, documents) {
                Some(colon) => vec![(colon..colon, format!(" {{{}}}", flow_entries(new)))],
                None => Vec::new(),
            },
            (Kind::Fill(new), _) => vec![(node.start..node.end, format!("{{{}}}", flow_entries(new)))],
            (Kind::Set(new), _) => {
                // JSON has no text without quotes.
                let is_json = text[node.start..].starts_with('"');
                vec![(node.start..node.end, if is_json { quoted(new) } else { written(new) })]
            }
            (Kind::Remove(indexes), Body::Map(entries, form)) => removal(text, entries, *form, indexes),
            (Kind::Remove(_), _) => Vec::new(),
        }
    }
}

/// Removes entries with the space that set them apart.
fn removal(
    text: &str,
    entries: &[(Node, Node)],
    form: Form,
    indexes: &[usize],
) -> Vec<(std::ops::Range<usize>, String)> {
    let mut edits = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let run = (at..entries.len()).take_while(|index| indexes.contains(index)).count();
        if run > 0 {
            edits.push((space(text, entries, form, at..at + run), String::new()));
        }
        at += run.max(1);
    }
    edits
}

/// What some neighbouring entries take of the text.
fn space(text: &str, entries: &[(Node, Node)], form: Form, run: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let (first, last) = (entries[run.start].0.start, entries[run.end - 1].1.end);
    match (form, entries.get(run.end)) {
        // Comments between an entry and the next belong to the next.
        (Form::Block, Some((next, _))) if begins_line(text, first) => {
            line_start(text, first)..line_after(text, last).min(line_start(text, next.start))
        }
        (_, Some((next, _))) => first..next.start,
        (Form::Block, None) => line_start(text, first)..line_after(text, last),
        (Form::Flow, None) => run.start.checked_sub(1).map_or(first, |before| entries[before].1.end)..last,
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |found| found + 1)
}

fn line_after(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |found| at + found + 1)
}

fn begins_line(text: &str, at: usize) -> bool {
    text[line_start(text, at)..at].bytes().all(|byte| byte == b' ')
}

/// How many characters stand before a byte on its line.
fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
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
