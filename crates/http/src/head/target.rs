//! Request targets in their four forms (RFC 9112, 3.2).

use super::HeadError;
use crate::authority::Authority;

/// What a request asks for, as sent. Nothing is decoded or normalized here; a `#fragment` stays
/// where it is (it doesn't belong in a target, and whoever normalizes paths cuts it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, the usual form.
    Origin {
        /// The path; begins with `/`.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `http://authority/path?query`, as clients send it to a proxy that they know of.
    Absolute {
        /// `http` or `https`, in any case.
        scheme: &'a str,
        /// The authority as sent.
        authority: &'a str,
        /// The path; `/` where none was sent.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `host:port`, for CONNECT only.
    Authority(&'a str),
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// The path, where the form has one.
    pub fn path(&self) -> Option<&'a str> {
        match *self {
            Self::Origin { path, .. } | Self::Absolute { path, .. } => Some(path),
            Self::Authority(_) | Self::Asterisk => None,
        }
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&'a str> {
        match *self {
            Self::Origin { query, .. } | Self::Absolute { query, .. } => query,
            Self::Authority(_) | Self::Asterisk => None,
        }
    }

    /// The target's text with another path, for [`crate::rewrite::Edits::target`]; a fragment in
    /// the query is cut. `None` where the form has no path.
    pub fn with_path(&self, path: &str) -> Option<String> {
        let mut text = match *self {
            Self::Origin { .. } => path.to_owned(),
            Self::Absolute { scheme, authority, .. } => format!("{scheme}://{authority}{path}"),
            Self::Authority(_) | Self::Asterisk => return None,
        };
        if let Some(query) = self.query() {
            text.push('?');
            text.push_str(query.split('#').next().unwrap_or_default());
        }
        Some(text)
    }

    pub(super) fn parse(method: &str, text: &'a str) -> Result<Self, HeadError> {
        if method == "CONNECT" {
            let has_port = Authority::parse(text.as_bytes()).is_some_and(|authority| authority.port.is_some());
            return if has_port { Ok(Self::Authority(text)) } else { Err(HeadError::Target) };
        }
        if text.starts_with('/') {
            let (path, query) = split_query(text);
            return Ok(Self::Origin { path, query });
        }
        if text == "*" && method == "OPTIONS" {
            return Ok(Self::Asterisk);
        }
        Self::parse_absolute(text).ok_or(HeadError::Target)
    }

    fn parse_absolute(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Authority::parse(authority.as_bytes())?;
        if rest.starts_with('#') {
            return None;
        }
        let (path, query) = split_query(rest);
        Some(Self::Absolute { scheme, authority, path: if path.is_empty() { "/" } else { path }, query })
    }
}

/// Path and query; a `?` inside a fragment begins no query.
fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.find(['?', '#']) {
        Some(at) if text.as_bytes()[at] == b'?' => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    }
}
