//! What a user doesn't want to hear: a code about an object, either of which may be a pattern.

use std::str::FromStr;

use super::{Code, Message};

/// `CODE=KIND NAME.NAMESPACE`, as `istioctl analyze --suppress` takes it; `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    origin: String,
}

impl Suppression {
    /// Whether a message is one of those.
    pub fn is_about(&self, message: &Message) -> bool {
        let (number, ..) = message.code.describe();
        self.code == number && is_like(&self.origin, &message.origin)
    }
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected CODE=KIND NAME.NAMESPACE such as \"IST0103=Pod web-*.shop\", found {text:?}");
        let (code, origin) = text.split_once('=').ok_or_else(wrong)?;
        if !Code::ALL.iter().any(|known| known.describe().0 == code) {
            return Err(format!("expected a code that weft analyze has, such as IST0103, found {code:?}"));
        }
        if origin.is_empty() {
            return Err(wrong());
        }
        Ok(Self { code: code.to_owned(), origin: origin.to_owned() })
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // What stands between two stars is found as early as can be, which leaves most to those behind.
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compared() {
        for (pattern, text, expected) in [
            ("Pod web.shop", "Pod web.shop", true),
            ("Pod web.shop", "Pod web.shop2", false),
            ("Pod *.shop", "Pod web-1.shop", true),
            ("*", "", true),
            ("Pod *web*.shop", "Pod a-web-web-1.shop", true),
            ("Pod *web*.shop", "Pod a-wb-1.shop", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_suppression_is_refused() {
        for wrong in ["", "IST0103", "IST0103=", "IST0999=Pod a.b", "0103=Pod a.b"] {
            assert!(wrong.parse::<Suppression>().is_err(), "{wrong}");
        }
        assert!("IST0103=Pod *".parse::<Suppression>().is_ok());
    }
}
