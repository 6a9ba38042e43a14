//! Values as text: in a block, its lines indented, or in brackets, which is JSON as well.

use serde_json::{Map, Value};

/// What stands behind `key:`. The key's column is that of `indent`.
pub(super) fn behind_key(value: &Value, indent: &str, line_end: &str) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let indent = format!("{indent}  ");
            format!("{line_end}{indent}{}", entries(map, &indent, line_end))
        }
        Value::Array(list) if !list.is_empty() => format!("{line_end}{indent}{}", items(list, indent, line_end)),
        other => format!(" {}", scalar(other)),
    }
}

/// A mapping's entries, the first where it stands, the others on lines of their own.
pub(super) fn entries(map: &Map<String, Value>, indent: &str, line_end: &str) -> String {
    let lines = map.iter().map(|(name, value)| format!("{}:{}", word(name), behind_key(value, indent, line_end)));
    lines.collect::<Vec<_>>().join(&format!("{line_end}{indent}"))
}

/// A list's items, likewise.
pub(super) fn items(list: &[Value], indent: &str, line_end: &str) -> String {
    let inner = format!("{indent}  ");
    let item = |value: &Value| match value {
        Value::Object(map) if !map.is_empty() => entries(map, &inner, line_end),
        Value::Array(list) if !list.is_empty() => items(list, &inner, line_end),
        other => scalar(other),
    };
    let lines = list.iter().map(|value| format!("- {}", item(value)));
    lines.collect::<Vec<_>>().join(&format!("{line_end}{indent}"))
}

/// In brackets.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => format!("{{{}}}", flow_entries(map)),
        Value::Array(list) => format!("[{}]", flow_items(list)),
        other => other.to_string(),
    }
}

/// A mapping's entries without its brackets.
pub(super) fn flow_entries(map: &Map<String, Value>) -> String {
    map.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value))).collect::<Vec<_>>().join(", ")
}

/// A list's items without its brackets.
pub(super) fn flow_items(list: &[Value]) -> String {
    list.iter().map(flow).collect::<Vec<_>>().join(", ")
}

/// Words stand as they are; whatever could be read as something else is quoted.
pub(super) fn word(text: &str) -> String {
    if is_text(text) && text.bytes().all(is_plain) { text.to_owned() } else { quoted(text) }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-' | b'_')
}

/// JSON's quoting, which YAML reads alike.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Whether YAML reads it as a text even without quotes.
pub(super) fn is_text(text: &str) -> bool {
    const OTHERS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !OTHERS.iter().any(|other| text.eq_ignore_ascii_case(other))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => flow(other),
    }
}
