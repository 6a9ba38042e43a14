//! Reading a tree field by field, noting what is wrong with it. Knows no kind: the kinds say which
//! fields they have and what they expect there.
//!
//! Whatever is noted as an error, and any unknown field, is a *defect*: [`Notes::watched`] tells
//! the reader of a rule or of a resource whether one was found inside, so that it can fail closed.

use crate::nearest::{distance, nearest};
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

    /// Understood, yet it can match nothing of what it is about.
    pub(crate) fn unmatched(&mut self, spot: &Spot<'_>, what: &str, nothing: &str) {
        let message = format!("expected {what}, found {}: it matches {nothing}", spot.node.describe());
        self.warning(spot.node.at, &spot.path, message);
    }

    /// A field that its mapping hasn't: a warning, and a defect, for a restriction may be lost.
    fn unknown_field(&mut self, entry: &Entry, path: &str, message: String) {
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
    let found_quoted = quoted(found);
    let Some(near) = nearest(found, known) else { return format!("expected no field here, found {found_quoted}") };
    let others: Vec<&str> = known.iter().copied().filter(|other| *other != near).collect();
    let is_slip = distance(found, near) <= MAX_SLIP;
    if is_slip || others.is_empty() || others.len() > MAX_NAMED {
        return format!("expected a known field (the nearest is {near}), found {found_quoted}");
    }
    format!("expected a known field (the nearest is {near}, others are {}), found {found_quoted}", others.join(", "))
}

/// So many wrong letters are a slip of the pen; with more, another word was meant.
const MAX_SLIP: usize = 2;
/// A message names no more fields.
const MAX_NAMED: usize = 8;

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
        self.fields_around(known, ("", &[]), notes)
    }

    /// The mapping here, whose fields must be `known` ones; one of the `inner` ones belongs into the
    /// mapping below `child`, and is told so.
    pub(crate) fn fields_around(
        &self,
        known: &[&str],
        (child, inner): (&str, &[&str]),
        notes: &mut Notes<'_>,
    ) -> Option<Fields<'n>> {
        let fields = self.entries(notes)?;
        for entry in fields.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let message = match inner.contains(&entry.key.as_str()) {
                true => format!("expected this field inside of {child}, found it outside"),
                false => unknown_field(&entry.key, known),
            };
            notes.unknown_field(entry, &fields.path_of(&entry.key), message);
        }
        Some(fields)
    }

    /// What stands below the only field that the mapping here has, around fields that are `inner`.
    pub(crate) fn only_child(&self, child: &str, inner: &[&str], notes: &mut Notes<'_>) -> Option<Spot<'n>> {
        let (fields, defect) = notes.watched(|notes| self.fields_around(&[child], (child, inner), notes));
        let found = fields?.field(child);
        if found.is_none() && defect.is_none() {
            notes.error(self.node.at, &format!("{}.{child}", self.path), "expected a mapping, found none".to_owned());
        }
        found
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
            found => {
                match found {
                    Value::Text(text) => notes.expected(self, &format!("a list such as [{}]", quoted(text))),
                    Value::Map(_) => notes.expected(self, "a list (each item begins with '-')"),
                    _ => notes.expected(self, "a list"),
                }
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

    pub(crate) fn path_of(&self, key: &str) -> String {
        let plain = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match (self.path.is_empty(), plain) {
            (true, true) => key.to_owned(),
            (false, true) => format!("{}.{key}", self.path),
            (_, false) => format!("{}[{}]", self.path, quoted(key)),
        }
    }
}
