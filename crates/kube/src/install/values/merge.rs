//! Values as trees of YAML: what a user set is put over what is known, key by key, and nothing else is taken.

use serde_json::Value;
use weft_resources::nearest;

use super::ValuesError;

pub(super) fn split(pair: &str) -> Result<(&str, &str), ValuesError> {
    pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| ValuesError::NoPair(pair.to_owned()))
}

pub(super) fn yaml(name: &str, text: &str) -> Result<Value, ValuesError> {
    let wrong = |error: serde_saphyr::Error| ValuesError::Yaml { file: name.to_owned(), why: first_line(&error) };
    serde_saphyr::from_str(text).map_err(wrong)
}

fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// `a.b` and a value as `{a: {b: value}}`.
pub(super) fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |value, part| Value::Object([(part.to_owned(), value)].into_iter().collect()))
}

/// Puts `new` into `all`, key by key; `at` is the key of `all` itself.
pub(super) fn merge(all: &mut Value, new: Value, place: &str, at: &str) -> Result<(), ValuesError> {
    let known = all.clone();
    match (all, new) {
        (Value::Object(all), Value::Object(new)) => {
            for (name, value) in new {
                let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match all.get_mut(&name) {
                    Some(old) => merge(old, value, place, &key)?,
                    None => return Err(unknown(place, &key, &known, at)),
                }
            }
            Ok(())
        }
        // An empty file, or a section without entries, says nothing.
        (Value::Object(_), Value::Null) => Ok(()),
        (Value::Object(_), other) => {
            let key = if at.is_empty() { place } else { at };
            Err(ValuesError::Wrong { key: key.to_owned(), expected: "a mapping", found: other.to_string() })
        }
        // `memory:` and `--set …memory=` take a value away.
        (old, Value::Null) => {
            *old = Value::from("");
            Ok(())
        }
        (old, new) => {
            *old = new;
            Ok(())
        }
    }
}

fn unknown(place: &str, key: &str, known: &Value, at: &str) -> ValuesError {
    let names: Vec<String> = keys(known, at);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let nearest = nearest(key, &names).unwrap_or_default().to_owned();
    ValuesError::Unknown { place: place.to_owned(), key: key.to_owned(), nearest }
}

/// The keys of a section and of those below it.
fn keys(value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        found.extend(keys(value, &key));
        found.push(key);
    }
    found
}

pub(super) fn leaves(value: &Value, at: &str, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                leaves(value, &key, see);
            }
        }
        leaf => see(at, leaf),
    }
}
