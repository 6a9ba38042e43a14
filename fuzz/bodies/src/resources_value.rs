//! Files of one value, such as a list of test cases.

use weft_resources::{Node, Place, Problem, Value, parse_value};

/// `weft_resources::parse_value`.
///
/// # Panics
/// When a value or a problem has no place in the file, a key stands twice, or JSON is read otherwise
/// than as JSON.
pub fn resources_value(data: &[u8]) {
    let ends_line = |pair: &[u8]| pair[0] == b'\n' || (pair[0] == b'\r' && pair.get(1) != Some(&b'\n'));
    let lines = (0..data.len()).filter(|at| ends_line(&data[*at..])).count() as u32 + 1;
    match parse_value("f.yaml", data) {
        Err(problem) => check_problem(&problem, lines),
        Ok(node) => {
            check(&node, lines, MAX_DEPTH);
            if let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) {
                check_json(&node, &json);
            }
        }
    }
}

fn check_problem(problem: &Problem, lines: u32) {
    assert!((1..=lines).contains(&problem.line), "of {lines} lines: {problem}");
    assert!(!problem.to_string().contains('\n'));
}

fn check(node: &Node, lines: u32, deeper: usize) {
    assert!(deeper > 0, "deeper than the reader allows");
    let is_placed = |at: Place| (1..=lines).contains(&at.line) && at.column >= 1;
    assert!(is_placed(node.at), "{:?} of {lines} lines", node.at);
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| check(item, lines, deeper - 1)),
        Value::Map(entries) => {
            let mut keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key stands twice");
            assert!(entries.iter().all(|entry| is_placed(entry.at)));
            entries.iter().for_each(|entry| check(&entry.value, lines, deeper - 1));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// The same lists, mappings and texts. Numbers are left out: they keep the text that was written.
fn check_json(node: &Node, json: &serde_json::Value) {
    match (&node.value, json) {
        (Value::List(items), serde_json::Value::Array(others)) => {
            assert_eq!(items.len(), others.len());
            items.iter().zip(others).for_each(|(item, other)| check_json(item, other));
        }
        (Value::Map(entries), serde_json::Value::Object(others)) => {
            // The merge key is YAML's own.
            if entries.len() == others.len() && !others.contains_key("<<") {
                for entry in entries {
                    check_json(&entry.value, others.get(&entry.key).expect("a key of JSON"));
                }
            }
        }
        (Value::Text(text), serde_json::Value::String(other)) => assert_eq!(text, other),
        (Value::Bool(value), serde_json::Value::Bool(other)) => assert_eq!(value, other),
        (Value::Null, serde_json::Value::Null) | (Value::Number(_), serde_json::Value::Number(_)) => {}
        (value, json) => assert!(json.is_number(), "{json} became {value:?}"),
    }
}

/// More than the reader allows.
const MAX_DEPTH: usize = 100;
