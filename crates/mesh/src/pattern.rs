//! How one text is matched: exact, prefix, suffix, presence (istio-semantics, B3).
//!
//! Knows texts and bytes, but not which attribute of a call they are.

use crate::record::Pattern;

impl Pattern {
    /// Reads a value as Istio writes it: `*` is presence, `*x` a suffix, `x*` a prefix, all else
    /// the whole text. A `*` anywhere else is itself; when a value begins with `*`, its last `*`
    /// is itself too.
    pub fn parse(value: &str) -> Self {
        if value == "*" {
            Self::Present
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else {
            Self::Exact(value.to_owned())
        }
    }

    /// Whether an attribute that is there matches; an empty one isn't present.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Present => !text.is_empty(),
            other => other.matches_value(text.as_bytes()),
        }
    }

    /// As [`Pattern::matches`], with the letters of ASCII taken without case.
    pub(crate) fn matches_ignoring_case(&self, text: &str) -> bool {
        let text = text.as_bytes();
        match self {
            Self::Present => !text.is_empty(),
            Self::Exact(whole) => text.eq_ignore_ascii_case(whole.as_bytes()),
            Self::Prefix(start) => text.get(..start.len()).is_some_and(|t| t.eq_ignore_ascii_case(start.as_bytes())),
            Self::Suffix(end) => {
                let from = text.len().checked_sub(end.len());
                from.is_some_and(|from| text[from..].eq_ignore_ascii_case(end.as_bytes()))
            }
        }
    }

    /// Whether the value of a header field matches; an empty value is present.
    pub(crate) fn matches_value(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(whole) => value == whole.as_bytes(),
            Self::Prefix(start) => value.starts_with(start.as_bytes()),
            Self::Suffix(end) => value.ends_with(end.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_either_end_is_an_operator_and_elsewhere_itself() {
        for (value, expected) in [
            ("*", Pattern::Present),
            ("*x", Pattern::Suffix("x".into())),
            ("x*", Pattern::Prefix("x".into())),
            ("x", Pattern::Exact("x".into())),
            ("/a/*/b", Pattern::Exact("/a/*/b".into())),
            ("*/a*", Pattern::Suffix("/a*".into())),
            ("a*b*", Pattern::Prefix("a*b".into())),
            ("**", Pattern::Suffix("*".into())),
            ("", Pattern::Exact(String::new())),
        ] {
            assert_eq!(Pattern::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn texts_match_with_their_case() {
        for (value, text, expected) in [
            ("*", "a", true),
            ("*", "", false),
            ("GET", "GET", true),
            ("GET", "get", false),
            ("/a*", "/a", true),
            ("/a*", "/ab", true),
            ("/a*", "/", false),
            ("*.txt", "/b.txt", true),
            ("*.txt", "/b.TXT", false),
            ("*/a*", "/x/a*", true),
            ("*/a*", "/x/ab", false),
        ] {
            assert_eq!(Pattern::parse(value).matches(text), expected, "{value} {text}");
        }
    }

    #[test]
    fn hosts_match_without_case() {
        for (value, text, expected) in [
            ("Shop.example", "sHOP.EXAMPLE", true),
            ("Shop.example", "shop.example:80", false),
            ("SHOP.*", "shop.example", true),
            ("SHOP.*", "sho", false),
            ("*.Example", "shop.eXample", true),
            ("*.Example", "example", false),
            ("*", "", false),
            ("*é.example", "SHOPé.EXAMPLE", true),
            ("sé*", "s", false),
        ] {
            assert_eq!(Pattern::parse(value).matches_ignoring_case(text), expected, "{value} {text}");
        }
    }

    #[test]
    fn an_empty_header_value_is_present() {
        assert!(Pattern::Present.matches_value(b""));
        assert!(Pattern::parse("a*").matches_value(b"a\xff"));
    }
}
