//! What a document that is no YAML still says about itself, read from its lines.
//!
//! Only what stands there plainly is believed: a key alone at its indentation, a plain value, a
//! whole line. Whatever isn't told that way is left open, and an open namespace means the whole
//! mesh, an open selector the whole namespace, an open action a denial.

use std::collections::BTreeMap;

use crate::istio::{SECURITY_GROUP, Selector};
use crate::kinds::PolicyKind;
use crate::meta::DEFAULT_NAMESPACE;
use crate::names::{is_label, is_subdomain};
use crate::yaml::{Node, Value};

/// What could be told of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remains {
    pub(crate) kind: PolicyKind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) selector: Option<Selector>,
    /// The text of `spec.action`.
    pub(crate) action: Option<String>,
}

/// The kinds of policies that a value names anywhere.
pub(crate) fn mentioned(node: &Node) -> Vec<PolicyKind> {
    PolicyKind::ALL.into_iter().filter(|kind| names(node, kind.name())).collect()
}

fn names(node: &Node, word: &str) -> bool {
    match &node.value {
        Value::Text(text) => mentions(text, word),
        Value::List(items) => items.iter().any(|item| names(item, word)),
        Value::Map(entries) => entries.iter().any(|entry| mentions(&entry.key, word) || names(&entry.value, word)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The policies that a text may hold: none, when it mentions none.
pub(crate) fn salvage(text: &str) -> Vec<Remains> {
    // Text in UTF-16 reads well enough once its NULs are gone.
    let text = text.replace('\0', "");
    if PolicyKind::ALL.iter().all(|kind| !text.contains(kind.name())) {
        return Vec::new();
    }
    let lines: Vec<Line<'_>> = text.split_inclusive('\n').filter_map(line).collect();
    let kinds: Vec<&str> = top(&lines, "kind").map(|(_, line)| line.plain().unwrap_or_default()).collect();
    let foreign = |(_, line): (usize, &Line<'_>)| {
        line.plain().is_some_and(|version| version.contains('/') && !version.starts_with(SECURITY_GROUP))
    };
    let versions = top(&lines, "apiVersion").count();
    if versions > 0 && top(&lines, "apiVersion").all(foreign) && kinds.iter().all(|kind| !kind.is_empty()) {
        return Vec::new();
    }
    let certain = kinds.len() == 1;
    PolicyKind::ALL
        .into_iter()
        .filter(|kind| match kinds.as_slice() {
            [] => mentions(&text, kind.name()),
            // A list, or a kind that can't be read, may hold any.
            _ => kinds.contains(&kind.name()) || (kinds.iter().any(|k| is_open(k)) && mentions(&text, kind.name())),
        })
        .map(|kind| if certain && kinds == [kind.name()] { remains(kind, &lines) } else { Remains::unknown(kind) })
        .collect()
}

fn is_open(kind: &str) -> bool {
    kind.is_empty() || kind.ends_with("List")
}

impl Remains {
    /// A policy of which nothing but the kind is known.
    pub(crate) fn unknown(kind: PolicyKind) -> Self {
        Self { kind, namespace: None, name: None, selector: None, action: None }
    }
}

fn remains(kind: PolicyKind, lines: &[Line<'_>]) -> Remains {
    let metadata = block(lines, 0, "metadata");
    let spec = block(lines, 0, "spec");
    let text = |block: &Option<Block<'_>>, key| block.as_ref().and_then(|b| b.value(key)).map(str::to_owned);
    Remains {
        kind,
        namespace: metadata.as_ref().and_then(namespace),
        name: text(&metadata, "name").filter(|name| is_subdomain(name)),
        selector: spec.as_ref().and_then(selector),
        action: text(&spec, "action"),
    }
}

/// The namespace: written plainly; or the default one, when the whole block is plain and closed and
/// says none.
fn namespace(metadata: &Block<'_>) -> Option<String> {
    let found = metadata.direct().filter(|line| line.key == Some("namespace")).count();
    if found > 0 {
        return metadata.value("namespace").filter(|name| is_label(name)).map(str::to_owned);
    }
    let plain = metadata.closed && metadata.lines.iter().all(|line| line.key.is_some() && line.value != Content::Odd);
    let quiet = metadata.lines.iter().all(|line| line.key != Some("namespace"));
    (plain && quiet && metadata.value("name").is_some()).then(|| DEFAULT_NAMESPACE.to_owned())
}

fn selector(spec: &Block<'_>) -> Option<Selector> {
    let selector = block(spec.lines, spec.indent()?, "selector")?;
    let labels = block(selector.lines, selector.indent()?, "matchLabels")?;
    let indent = labels.indent()?;
    let pair = |line: &Line<'_>| {
        let (key, value) = (line.key?.to_owned(), line.plain()?.to_owned());
        (line.indent == indent).then_some((key, value))
    };
    let pairs: Option<BTreeMap<String, String>> = labels.lines.iter().map(pair).collect();
    pairs.filter(|labels| !labels.is_empty()).map(Selector)
}

/// The lines below a key, deeper than it.
struct Block<'t> {
    lines: &'t [Line<'t>],
    /// Whether another key of the same depth follows, so that no line can be missing.
    closed: bool,
}

/// The block below `key`, when exactly one line at this depth has that key and no value.
fn block<'t>(lines: &'t [Line<'t>], indent: usize, key: &str) -> Option<Block<'t>> {
    let mut found = lines.iter().enumerate().filter(|(_, line)| line.indent == indent && line.key == Some(key));
    let (Some((at, line)), None) = (found.next(), found.next()) else { return None };
    if line.value != Content::Empty {
        return None;
    }
    let below = &lines[at + 1..];
    let end = below.iter().position(|line| line.indent <= indent);
    let closed = end.is_some_and(|end| below[end].indent == indent && below[end].key.is_some());
    Some(Block { lines: &below[..end.unwrap_or(below.len())], closed })
}

impl<'t> Block<'t> {
    fn indent(&self) -> Option<usize> {
        self.lines.first().map(|line| line.indent)
    }

    fn direct(&self) -> impl Iterator<Item = &'t Line<'t>> + use<'t> {
        let indent = self.indent();
        self.lines.iter().filter(move |line| Some(line.indent) == indent)
    }

    /// The plain value of a key that stands once.
    fn value(&self, key: &str) -> Option<&'t str> {
        let mut found = self.direct().filter(|line| line.key == Some(key));
        match (found.next(), found.next()) {
            (Some(line), None) => line.plain(),
            _ => None,
        }
    }
}

/// A line that is neither empty nor a comment.
#[derive(Debug)]
struct Line<'t> {
    indent: usize,
    /// The key, when the line is of the form `key: value`.
    key: Option<&'t str>,
    value: Content<'t>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content<'t> {
    Empty,
    Plain(&'t str),
    /// Anything else: a flow, an alias, an escape, a line that may have been cut.
    Odd,
}

impl<'t> Line<'t> {
    fn plain(&self) -> Option<&'t str> {
        match self.value {
            Content::Plain(text) => Some(text),
            _ => None,
        }
    }
}

/// The lines at depth 0 with this key.
fn top<'l, 't>(lines: &'l [Line<'t>], key: &'static str) -> impl Iterator<Item = (usize, &'l Line<'t>)> {
    lines.iter().enumerate().filter(move |(_, line)| line.indent == 0 && line.key == Some(key))
}

fn line(text: &str) -> Option<Line<'_>> {
    let whole = text.ends_with('\n');
    let text = text.trim_end_matches(['\n', '\r']);
    let content = text.trim_start_matches(' ');
    if content.trim().is_empty() || content.starts_with('#') || content.starts_with("---") {
        return None;
    }
    let indent = text.len() - content.len();
    let Some((key, rest)) = content.split_once(':') else {
        return Some(Line { indent, key: None, value: Content::Odd });
    };
    let key = unquoted(key).filter(|key| key.bytes().all(is_plain));
    let value = match rest.trim() {
        _ if !whole || !(rest.is_empty() || rest.starts_with(' ')) => Content::Odd,
        "" => Content::Empty,
        value => plain_value(value),
    };
    Some(Line { indent, key, value })
}

fn plain_value(value: &str) -> Content<'_> {
    let value = value.split_once(" #").map_or(value, |(value, _)| value.trim_end());
    match unquoted(value) {
        Some(text) if !text.is_empty() && text.bytes().all(is_plain) => Content::Plain(text),
        _ => Content::Odd,
    }
}

/// The text without its quotes; `None` when they don't match.
fn unquoted(text: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inner| !inner.contains(['"', '\'', '\\']));
        }
    }
    (!text.contains(['"', '\''])).then_some(text)
}

fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/')
}

/// Whether the text holds `word`, as a whole word, outside of whole-line comments.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| {
        line.match_indices(word).any(|(at, _)| {
            let after = line[at + word.len()..].strip_prefix("List").unwrap_or(&line[at + word.len()..]);
            !line[..at].ends_with(part) && !after.starts_with(part)
        })
    })
}

#[cfg(test)]
mod tests;
