//! Operations of a JSON patch (RFC 6902), as far as injection needs them.

use serde::Serialize;
use serde_json::Value;

/// One operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operation {
    op: Op,
    path: String,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Add,
    Replace,
}

impl Operation {
    pub(super) fn add(path: impl Into<String>, value: Value) -> Self {
        Self { op: Op::Add, path: path.into(), value }
    }

    pub(super) fn replace(path: impl Into<String>, value: Value) -> Self {
        Self { op: Op::Replace, path: path.into(), value }
    }

    /// The place of what is there already and is written anew.
    pub(crate) fn replaced(&self) -> Option<&str> {
        (self.op == Op::Replace).then_some(&*self.path)
    }
}

/// A key inside a JSON pointer (RFC 6901, section 3).
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Applies operations to what they were made for.
pub(crate) fn apply(pod: &mut Value, operations: &[Operation]) {
    for Operation { path, value, .. } in operations {
        let (parent, last) = path.rsplit_once('/').unwrap_or_default();
        let last = last.replace("~1", "/").replace("~0", "~");
        match pod.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.insert(last, value.clone());
            }
            Some(Value::Array(items)) => {
                let at = last.parse().unwrap_or(items.len()).min(items.len());
                items.insert(at, value.clone());
            }
            _ => {}
        }
    }
}
