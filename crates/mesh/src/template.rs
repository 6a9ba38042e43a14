//! Path templates: `{*}` is one segment, `{**}` any text (istio-semantics, B3).
//!
//! Knows paths as texts only; normalizing them is [`crate::path`]'s work. A `{*}` fills a whole
//! segment and nothing but plain text may follow a `{**}`, so matching never has to go back.

use crate::record::{PathPattern, Pattern};

impl PathPattern {
    /// Reads a value of `paths`: a template when it holds a brace, else a text as
    /// [`Pattern::parse`] has it.
    ///
    /// # Errors
    /// [`TemplateError`] when there is a brace and the value is no template; Istio refuses stray
    /// braces likewise.
    pub fn parse(value: &str) -> Result<Self, TemplateError> {
        if !value.contains(['{', '}']) {
            return Ok(Self::Text(Pattern::parse(value)));
        }
        validate_template(value)?;
        Ok(Self::Template(value.to_owned()))
    }

    /// Whether the path, normalized and without its query, matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Text(pattern) => pattern.matches(path),
            Self::Template(template) => matches_template(template, path),
        }
    }
}

/// Checks that a text is a path template.
///
/// # Errors
/// [`TemplateError`]: what is wrong and in which segment.
pub fn validate_template(template: &str) -> Result<(), TemplateError> {
    let Some(rest) = template.strip_prefix('/') else {
        return Err(TemplateError::Start(template.to_owned()));
    };
    // One slash at the end is part of the path and no empty segment.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut tail = false;
    for segment in rest.split('/') {
        match segment {
            ONE | ANY if tail => return Err(TemplateError::AfterAny(template.to_owned())),
            ANY => tail = true,
            ONE => {}
            literal => check_literal(literal, template)?,
        }
    }
    if template.contains(ONE) || tail { Ok(()) } else { Err(TemplateError::NoOperator(template.to_owned())) }
}

fn check_literal(segment: &str, template: &str) -> Result<(), TemplateError> {
    // RFC 3986, appendix A: pchar, without `*`.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b);
    if segment.is_empty() {
        return Err(TemplateError::EmptySegment(template.to_owned()));
    }
    if !segment.bytes().all(allowed) {
        return Err(TemplateError::Segment { segment: segment.to_owned(), template: template.to_owned() });
    }
    Ok(())
}

/// Whether a path matches a template. Linear in the path, allocates nothing, and total: what
/// [`validate_template`] would refuse is matched as well as it can be read.
pub fn matches_template(template: &str, path: &str) -> bool {
    match template.split_once(ANY) {
        Some((head, tail)) => rest_after(head, path).is_some_and(|rest| rest.ends_with(tail)),
        None => rest_after(template, path).is_some_and(str::is_empty),
    }
}

/// What is left of the path once `head`, text and `{*}` only, has taken its part.
fn rest_after<'p>(mut head: &str, mut path: &'p str) -> Option<&'p str> {
    while let Some((literal, after)) = head.split_once(ONE) {
        path = path.strip_prefix(literal)?;
        let segment = path.find('/').unwrap_or(path.len());
        if segment == 0 {
            return None;
        }
        path = &path[segment..];
        head = after;
    }
    path.strip_prefix(head)
}

/// Why a text is no path template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It doesn't begin with a slash, so no path could match.
    #[error("expected a path template that begins with '/', found {0:?}")]
    Start(String),
    /// Two slashes follow each other.
    #[error("expected a path template without empty segments, found {0:?}")]
    EmptySegment(String),
    /// A segment mixes an operator with other characters, or holds one that a path can't.
    #[error(
        "expected segments that are {{*}}, {{**}} or plain text without '*', '{{' and '}}', found {segment:?} in {template:?}"
    )]
    Segment {
        /// The segment.
        segment: String,
        /// The whole template.
        template: String,
    },
    /// An operator follows `{**}`.
    #[error("expected {{**}} to be the last operator, found another after it in {0:?}")]
    AfterAny(String),
    /// There is no operator at all.
    #[error("expected {{*}} or {{**}}, found neither in {0:?}")]
    NoOperator(String),
}

/// Exactly one segment, not empty.
const ONE: &str = "{*}";
/// Any text, empty or with slashes.
const ANY: &str = "{**}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istios_truth_table_holds() {
        let templates = ["/allow/admin/{**}", "/foo/{*}/bar/{**}", "/store/{**}/cart"];
        let admitted = |path: &str| templates.iter().any(|t| PathPattern::parse(t).unwrap().matches(path));
        for path in [
            "/allow/admin/",
            "/allow/admin/temp",
            "/allow/admin/foo/temp.txt",
            "/foo/buzz/bar/bat.txt",
            "/foo/buzz/bar/bat/fuzz.txt",
            "/store//cart",
            "/store/foo/cart",
            "/store/foo/bar/cart",
        ] {
            assert!(admitted(path), "{path}");
        }
        for target in [
            "/allow/admin",
            "/allow/admin?param=value",
            "/allow/user/",
            "/allow",
            "/foo/bar/bat.txt",
            "/foo//bar/bat.txt",
            "/store/cart",
        ] {
            assert!(!admitted(crate::path::without_query(target)), "{target}");
        }
    }

    #[test]
    fn one_segment_is_whole_and_not_empty() {
        for (template, path, expected) in [
            ("/{*}", "/a", true),
            ("/{*}", "/", false),
            ("/{*}", "/a/", false),
            ("/{*}/", "/a/", true),
            ("/{*}/{*}", "/a/b", true),
            ("/{*}/{*}", "/a/b/c", false),
            ("/{*}/b", "/a/bc", false),
            ("/{**}", "/", true),
            ("/{**}", "", false),
            ("/a/{**}/b", "/a/b/b", true),
            ("/a/{**}/b", "/a/b", false),
        ] {
            assert_eq!(matches_template(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let t = |text: &str| text.to_owned();
        let segment =
            |segment: &str, template: &str| TemplateError::Segment { segment: t(segment), template: t(template) };
        for (template, expected) in [
            ("{*}/a", TemplateError::Start(t("{*}/a"))),
            ("/a//{*}", TemplateError::EmptySegment(t("/a//{*}"))),
            ("/a{*}", segment("a{*}", "/a{*}")),
            ("/{*}.txt", segment("{*}.txt", "/{*}.txt")),
            ("/{*}/*", segment("*", "/{*}/*")),
            ("/{a}", segment("{a}", "/{a}")),
            ("/{*}/a b", segment("a b", "/{*}/a b")),
            ("/{**}/{*}", TemplateError::AfterAny(t("/{**}/{*}"))),
            ("/{**}/a/{**}", TemplateError::AfterAny(t("/{**}/a/{**}"))),
        ] {
            assert_eq!(PathPattern::parse(template), Err(expected), "{template}");
        }
        assert_eq!(validate_template("/a"), Err(TemplateError::NoOperator(t("/a"))));
    }

    #[test]
    fn without_braces_a_path_is_a_text() {
        assert_eq!(PathPattern::parse("/a/*"), Ok(PathPattern::Text(Pattern::Prefix("/a/".into()))));
    }
}
