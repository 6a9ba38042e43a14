//! Reading a tree of values field by field. Every mistake is noted with its line; an unknown key is
//! one, unless it begins with `x-`.

use weft_resources::{Entry, Node, Place, Problem, Severity, Value, nearest};

/// The mistakes of a file, as they are found.
pub(super) struct Notes<'f> {
    file: &'f str,
    /// In the order of the file's cases.
    pub(super) problems: Vec<Problem>,
}

impl<'f> Notes<'f> {
    pub(super) fn new(file: &'f str) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// Notes a mistake.
    pub(super) fn error(&mut self, spot: &Spot<'_>, message: String) {
        self.error_at(spot.node.at, &spot.path, message);
    }

    fn error_at(&mut self, at: Place, path: &str, message: String) {
        self.problems.push(Problem {
            severity: Severity::Error,
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            field: (!path.is_empty()).then(|| path.to_owned()),
            resource: None,
            message,
        });
    }

    /// Something else was expected here.
    fn expected(&mut self, spot: &Spot<'_>, what: &str) {
        self.error(spot, format!("expected {what}, found {}", spot.node.describe()));
    }
}

/// A value and the path that leads to it.
#[derive(Clone)]
pub(super) struct Spot<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

impl<'n> Spot<'n> {
    /// The file's document.
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node, path: String::new() }
    }

    /// The mapping here, whose keys must be `known` ones. One without a value counts as absent.
    pub(super) fn fields(&self, known: &[&str], notes: &mut Notes<'_>) -> Option<Vec<(&'n str, Spot<'n>)>> {
        for entry in self.map(notes)? {
            let key = entry.key.as_str();
            if !known.contains(&key) && !key.starts_with("x-") {
                let near = nearest(key, known).map(|near| format!(" (the nearest is {near})")).unwrap_or_default();
                let message = format!("expected a known key{near} or one that begins with x-, found {key:?}");
                notes.error_at(entry.at, &self.below(key), message);
            }
        }
        let mut fields = self.entries(notes)?;
        fields.retain(|(key, spot)| known.contains(key) && spot.node.value != Value::Null);
        Some(fields)
    }

    /// The mapping here, whose keys are the user's own.
    pub(super) fn entries(&self, notes: &mut Notes<'_>) -> Option<Vec<(&'n str, Spot<'n>)>> {
        let spot = |entry: &'n Entry| Spot { node: &entry.value, path: self.below(&entry.key) };
        Some(self.map(notes)?.iter().map(|entry| (entry.key.as_str(), spot(entry))).collect())
    }

    fn map(&self, notes: &mut Notes<'_>) -> Option<&'n [Entry]> {
        let Value::Map(entries) = &self.node.value else {
            notes.expected(self, "a mapping");
            return None;
        };
        Some(entries)
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The items of the list here.
    pub(super) fn items(&self, notes: &mut Notes<'_>) -> Option<Vec<Spot<'n>>> {
        let Value::List(items) = &self.node.value else {
            notes.expected(self, "a list");
            return None;
        };
        let spot = |(n, node)| Spot { node, path: format!("{}[{n}]", self.path) };
        Some(items.iter().enumerate().map(spot).collect())
    }

    /// The text here.
    pub(super) fn text(&self, notes: &mut Notes<'_>) -> Option<&'n str> {
        let text = self.node.text();
        match self.node.value {
            _ if text.is_some() => {}
            Value::Number(_) | Value::Bool(_) => notes.expected(self, "a text (in quotes)"),
            _ => notes.expected(self, "a text"),
        }
        text
    }

    /// What `parse` makes of the text here. Its error is of the form `expected …, found …`.
    pub(super) fn parsed<T>(&self, notes: &mut Notes<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(notes)?;
        parse(text).map_err(|message| notes.error(self, message)).ok()
    }

    /// The port here, as a number or a text.
    pub(super) fn port(&self, notes: &mut Notes<'_>) -> Option<u16> {
        let port = match &self.node.value {
            Value::Number(text) | Value::Text(text) => text.parse().ok().filter(|port| *port > 0),
            _ => None,
        };
        if port.is_none() {
            notes.expected(self, "a port of 1 to 65535");
        }
        port
    }
}

/// The field `name` among those of a mapping.
pub(super) fn field<'f, 'n>(fields: &'f [(&'n str, Spot<'n>)], name: &str) -> Option<&'f Spot<'n>> {
    fields.iter().find(|(key, _)| *key == name).map(|(_, spot)| spot)
}
