//! Reading a tree field by field, noting what is wrong with it. Knows no kind: the kinds say which
//! fields they have and what they expect there.
//!
//! Whatever is noted as an error, and any unknown field, is a *defect*: [`Notes::watched`] tells
//! the reader of a rule or of a resource whether one was found inside, so that it can fail closed.

use crate::nearest::nearest;
use crate::problem::{Problem, ResourceRef, Severity, quoted};
use crate::yaml::{Entry, Node, Place, Value};

/// The file that is read.
pub(crate) struct File<'f> {
    /// Its name for messages.
    pub(crate) name: &'f str,
    /// The last line, when it has no line end: it may have been cut.
    pub(crate) cut_line: Option<u32>,
}

/// The problems of one resource, as they are found.
pub(crate) struct Notes<'f> {
    file: &'f File<'f>,
    resource: Option<ResourceRef>,
    problems: Vec<Problem>,
    /// The defects found so far, in the words of their problems.
    defects: Vec<String>,
}

impl<'f> Notes<'f> {
    pub(crate) fn new(file: &'f File<'f>, resource: Option<ResourceRef>) -> Self {
        Self { file, resource, problems: Vec::new(), defects: Vec::new() }
    }

    pub(crate) fn file(&self) -> &'f str {
        self.file.name
    }

    /// Whether what stands here may have been cut.
    pub(crate) fn is_cut(&self, at: Place) -> bool {
        self.file.cut_line == Some(at.line)
    }

    /// Runs `read` and tells the first defect that it found.
    pub(crate) fn watched<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Option<String>) {
        let before = self.defects.len();
        let value = read(self);
        (value, self.defects.get(before).cloned())
    }

    /// Not understood.
    pub(crate) fn error(&mut self, at: Place, field: &str, message: String) {
        let problem = self.problem(Severity::Error, at, field, message);
        self.defects.push(problem.to_string());
        self.problems.push(problem);
    }

    /// Not understood, yet nothing that could open access: no defect.
    pub(crate) fn harmless_error(&mut self, at: Place, field: &str, message: String) {
        let problem = self.problem(Severity::Error, at, field, message);
        self.problems.push(problem);
    }

    /// Something else was expected here.
    pub(crate) fn expected(&mut self, spot: &Spot<'_>, what: &str) {
        self.error(spot.node.at, &spot.path, format!("expected {what}, found {}", spot.node.describe()));
    }

    /// Understood, yet perhaps not meant so.
    pub(crate) fn warning(&mut self, at: Place, field: &str, message: String) {
        let problem = self.problem(Severity::Warning, at, field, message);
        self.problems.push(problem);
    }

    /// A field that its mapping hasn't: a warning, and a defect, for a restriction may be lost.
    fn unknown_field(&mut self, entry: &Entry, path: &str, known: &[&str]) {
        let message = unknown_field(&entry.key, known);
        let problem = self.problem(Severity::Warning, entry.at, path, message);
        self.defects.push(problem.to_string());
        self.problems.push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn problem(&self, severity: Severity, at: Place, field: &str, message: String) -> Problem {
        Problem {
            severity,
            file: self.file.name.to_owned(),
            line: at.line,
            column: at.column,
            field: (!field.is_empty()).then(|| field.to_owned()),
            resource: self.resource.clone(),
            message,
        }
    }
}

/// The message about an unknown field.
pub(crate) fn unknown_field(found: &str, known: &[&str]) -> String {
    match nearest(found, known) {
        Some(near) => format!("expected a known field (the nearest is {near}), found {}", quoted(found)),
        None => format!("expected no field here, found {}", quoted(found)),
    }
}

/// A node and the path that leads to it.
pub(crate) struct Spot<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl<'n> Spot<'n> {
    pub(crate) fn new(node: &'n Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    /// The mapping here, whose fields must be `known` ones.
    pub(crate) fn fields(&self, known: &[&str], notes: &mut Notes<'_>) -> Option<Fields<'n>> {
        let fields = self.entries(notes)?;
        for entry in fields.entries {
            if !known.contains(&entry.key.as_str()) {
                notes.unknown_field(entry, &fields.path_of(&entry.key), known);
            }
        }
        Some(fields)
    }

    /// The mapping here, whose keys are the user's own.
    pub(crate) fn entries(&self, notes: &mut Notes<'_>) -> Option<Fields<'n>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields { entries, path: self.path.clone() }),
            _ => {
                notes.expected(self, "a mapping");
                None
            }
        }
    }

    /// The items of the list here.
    pub(crate) fn items(&self, notes: &mut Notes<'_>) -> Option<Vec<Spot<'n>>> {
        match &self.node.value {
            Value::List(items) => {
                let spot = |(n, node)| Spot { node, path: format!("{}[{n}]", self.path) };
                Some(items.iter().enumerate().map(spot).collect())
            }
            _ => {
                notes.expected(self, "a list");
                None
            }
        }
    }

    /// The text here.
    pub(crate) fn text(&self, notes: &mut Notes<'_>) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => {
                let message = format!("expected a text (in quotes), found {}", self.node.describe());
                notes.error(self.node.at, &self.path, message);
                None
            }
            _ => {
                notes.expected(self, "a text");
                None
            }
        }
    }

    /// The text here, which may not be empty.
    pub(crate) fn filled(&self, notes: &mut Notes<'_>) -> Option<&'n str> {
        let text = self.text(notes)?;
        if text.is_empty() {
            notes.expected(self, "a text that is not empty");
            return None;
        }
        Some(text)
    }
}

/// The fields of a mapping.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    path: String,
}

impl<'n> Fields<'n> {
    pub(crate) fn field(&self, name: &str) -> Option<Spot<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Spot { node: &entry.value, path: self.path_of(name) })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'n Entry, Spot<'n>)> + '_ {
        self.entries.iter().map(|entry| (entry, Spot { node: &entry.value, path: self.path_of(&entry.key) }))
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn path_of(&self, key: &str) -> String {
        let plain = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match (self.path.is_empty(), plain) {
            (true, true) => key.to_owned(),
            (false, true) => format!("{}.{key}", self.path),
            (_, false) => format!("{}[{}]", self.path, quoted(key)),
        }
    }
}
