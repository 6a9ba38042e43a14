//! Objects as text that `kubectl apply -f -` takes.

use serde_json::{Value, json};

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// YAML, a document for each.
    Yaml,
    /// One JSON list.
    Json,
}

/// The objects, in order.
pub fn render(objects: &[Value], form: Form) -> String {
    match form {
        Form::Yaml => objects.iter().map(|object| format!("---\n{}", yaml(object))).collect(),
        Form::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            // Strings, numbers, lists and maps with string keys serialize.
            let text = serde_json::to_string_pretty(&list).unwrap_or_default();
            text + "\n"
        }
    }
}

/// One value, with a line end.
pub(super) fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    // JSON's values serialize.
    let mut text = serde_saphyr::to_string_with_options(value, options).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
