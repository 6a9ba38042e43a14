//! What is wrong with what a user wrote, each in one line: where, which field, what was expected
//! and what was found. Nothing here knows how problems are shown or counted.

use std::fmt;

/// One finding about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named to [`crate::parse`].
    pub file: String,
    /// The line, from 1; 0 when the finding concerns no line.
    pub line: u32,
    /// The column, from 1, in characters; 0 when unknown.
    pub column: u32,
    /// The field, such as `spec.rules[0].from[1].source.principals`.
    pub field: Option<String>,
    /// The resource, as far as it could be told.
    pub resource: Option<ResourceRef>,
    /// What was expected and what was found. It may quote what the user wrote.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing needs mending.
    Info,
    /// In force, but perhaps not as it was meant.
    Warning,
    /// Not understood. A policy fails closed.
    Error,
}

/// Which resource a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// The kind, such as `AuthorizationPolicy`.
    pub kind: String,
    /// The namespace; `None` when it can't be told.
    pub namespace: Option<String>,
    /// The name; `None` when it can't be told.
    pub name: Option<String>,
}

impl fmt::Display for Problem {
    /// One line: `FILE:LINE: FIELD: MESSAGE (RESOURCE)`; what is no error says so after the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.file.clone();
        if self.line > 0 {
            line += &format!(":{}", self.line);
        }
        line += ": ";
        match self.severity {
            Severity::Error => {}
            Severity::Warning => line += "warning: ",
            Severity::Info => line += "info: ",
        }
        if let Some(field) = &self.field {
            line += &format!("{field}: ");
        }
        line += &self.message;
        // An API server's object has no file: its own name stands at the front already.
        if let Some(resource) = self.resource.as_ref().map(ToString::to_string).filter(|name| *name != self.file) {
            line += &format!(" ({resource})");
        }
        f.write_str(&one_line(&line))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        write!(f, "{} {}/{}", self.kind, part(&self.namespace), part(&self.name))
    }
}

/// Stands for a namespace or a name that can't be told; no valid name reads so.
pub const UNKNOWN: &str = "?";

/// Quotes what a user wrote, shortened, for use in a message.
pub(crate) fn quoted(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(MAX_QUOTED).collect();
    if characters.next().is_some() { format!("{head:?}…") } else { format!("{head:?}") }
}

/// Escapes what would break the line or the terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{85}' | '\u{2028}' | '\u{2029}' => line.extend(c.escape_unicode()),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// How many characters of a user's text a message quotes.
const MAX_QUOTED: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line() {
        let mut problem = Problem {
            severity: Severity::Error,
            file: "a.yaml".into(),
            line: 7,
            column: 3,
            field: Some("spec.action".into()),
            resource: Some(ResourceRef { kind: "AuthorizationPolicy".into(), namespace: None, name: Some("x".into()) }),
            message: "expected ALLOW,\nfound \u{1b}[31m\u{2028}".into(),
        };
        let line = problem.to_string();
        assert!(line.starts_with("a.yaml:7: spec.action: expected ALLOW,\\nfound \\u{1b}[31m\\u{2028}"), "{line}");
        assert!(line.ends_with("(AuthorizationPolicy ?/x)"), "{line}");
        problem.severity = Severity::Warning;
        assert!(problem.to_string().starts_with("a.yaml:7: warning: "));
    }

    #[test]
    fn long_texts_are_shortened() {
        assert!(quoted(&"ä".repeat(10_000)).len() < 200);
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
