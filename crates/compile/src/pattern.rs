//! Texts with a `*` at one end, as Istio's string fields read them (istio-semantics, B3).

use weft_mesh::record::{PathPattern, Pattern};

/// `*` is presence, `*x` a suffix, `x*` a prefix. A leading `*` wins: the last one is then literal,
/// as every other.
pub(crate) fn pattern(text: &str) -> Pattern {
    if text == "*" {
        Pattern::Present
    } else if let Some(suffix) = text.strip_prefix('*') {
        Pattern::Suffix(suffix.to_owned())
    } else if let Some(prefix) = text.strip_suffix('*') {
        Pattern::Prefix(prefix.to_owned())
    } else {
        Pattern::Exact(text.to_owned())
    }
}

/// A path: a template, when it holds `{*}` or `{**}`.
pub(crate) fn path(text: &str) -> PathPattern {
    if text.contains("{*}") || text.contains("{**}") {
        PathPattern::Template(text.to_owned())
    } else {
        PathPattern::Text(pattern(text))
    }
}

/// Whether a `*` stands where a pattern takes it literally.
pub(crate) fn has_inner_star(text: &str) -> bool {
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    inner.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_at_the_ends_are_wild() {
        for (text, expected) in [
            ("*", Pattern::Present),
            ("*.com", Pattern::Suffix(".com".into())),
            ("/a*", Pattern::Prefix("/a".into())),
            ("/a", Pattern::Exact("/a".into())),
            ("*/a*", Pattern::Suffix("/a*".into())),
            ("a*b", Pattern::Exact("a*b".into())),
            ("**", Pattern::Suffix("*".into())),
            ("", Pattern::Exact(String::new())),
        ] {
            assert_eq!(pattern(text), expected, "{text}");
        }
        assert_eq!(path("/a/{**}"), PathPattern::Template("/a/{**}".into()));
        assert_eq!(path("/a*"), PathPattern::Text(Pattern::Prefix("/a".into())));
    }

    #[test]
    fn inner_stars_are_seen() {
        assert!(["a*b", "*a*", "**"].into_iter().all(has_inner_star));
        assert!(!["*", "a", "*a", "a*"].into_iter().any(has_inner_star));
    }
}
