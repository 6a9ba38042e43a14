//! Which type an unquoted scalar has, as the tools around Kubernetes read it (YAML 1.1 booleans
//! among them): a string field that gets one of the others is a mistake worth telling.

use super::node::Value;

/// The value of a scalar that was written without quotes and without a tag.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        text if is_number(text) => Value::Number(text.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}

/// Whether the text is an integer or a float of YAML.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix));
        }
    }
    let begins = |c: char| c.is_ascii_digit() || c == '.';
    let inner = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E' | '+' | '-');
    unsigned.starts_with(begins)
        && unsigned.chars().all(inner)
        && unsigned.replace('_', "").parse::<f64>().is_ok()
        && unsigned.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        for text in ["80", "-1", "+7", "1.5", "1e3", ".5", "0x1F", "0b1", "1_000", ".inf", ".nan"] {
            assert!(matches!(plain(text), Value::Number(_)), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.0/8", "v1", "1-2", "e", ".", "-", "0x", "1.2.3", "inf", "nan", "y", "1a"] {
            assert!(matches!(plain(text), Value::Text(_)), "{text}");
        }
        for text in ["true", "False", "on", "No"] {
            assert!(matches!(plain(text), Value::Bool(_)), "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(plain(text), Value::Null, "{text}");
        }
    }
}
