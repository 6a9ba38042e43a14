//! A policy as an API server gives it, in JSON: it says what the same text says in a folder.

use weft_resources::{Parsed, Resource, Severity, parse, parse_object};

/// `weft_resources::parse_object`.
///
/// # Panics
/// When a problem names a place or isn't of the object, when a broken policy isn't told, or when a folder's
/// file of the same JSON would hold other policies.
pub fn resources_object(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let object = parse_object(ORIGIN, &text);
    for problem in &object.problems {
        assert!(problem.file == ORIGIN && problem.line == 0, "a place in an object that has none: {problem:?}");
        assert!(!problem.to_string().contains('\n'));
    }
    let is_broken = object.resources.iter().any(|resource| resource.defect().is_some());
    let is_told = object.problems.iter().any(|problem| problem.severity > Severity::Info);
    assert!(!is_broken || is_told, "a policy is broken, and nobody is told");
    // An API server gives one JSON object; other YAML is split into documents by a folder's reader alone.
    if serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_object()) {
        assert_eq!(policies(&object), policies(&parse("f.yaml", text.as_bytes())));
    }
}

fn policies(parsed: &Parsed) -> Vec<(String, bool)> {
    let told = |resource: &Resource| (resource.reference().to_string(), resource.defect().is_some());
    parsed.resources.iter().map(told).collect()
}

const ORIGIN: &str = "AuthorizationPolicy shop/a";
