//! Whether a role grants what is needed: rules compared with rules.

use serde_json::Value;

/// What `needed` asks for and `granted` doesn't give, in words; both are lists of RBAC rules.
pub(super) fn missing(needed: &Value, granted: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for rule in needed.as_array().into_iter().flatten() {
        for (group, resource) in pairs(words(rule, "apiGroups"), words(rule, "resources")) {
            let names = words(rule, "resourceNames");
            let names: Vec<Option<&str>> =
                if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            for name in names {
                let refused =
                    words(rule, "verbs").into_iter().filter(|verb| !gives(granted, group, resource, name, verb));
                let refused: Vec<&str> = refused.collect();
                if !refused.is_empty() {
                    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                    missing.push(format!("{} {resource}{name}", refused.join("/")));
                }
            }
        }
    }
    missing
}

fn gives(granted: &Value, group: &str, resource: &str, name: Option<&str>, verb: &str) -> bool {
    let has =
        |rule: &Value, key: &str, word: &str| words(rule, key).iter().any(|found| *found == word || *found == "*");
    granted.as_array().into_iter().flatten().any(|rule| {
        let names = words(rule, "resourceNames");
        let named = names.is_empty() || name.is_some_and(|name| names.contains(&name));
        named && has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb)
    })
}

fn words<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn pairs<'a>(left: Vec<&'a str>, right: Vec<&'a str>) -> Vec<(&'a str, &'a str)> {
    left.iter().flat_map(|l| right.iter().map(|r| (*l, *r))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::install::{cluster_rules, namespace_rules};

    #[test]
    fn what_is_installed_is_enough() {
        for rules in [cluster_rules(), namespace_rules()] {
            assert!(missing(&rules, &rules).is_empty());
            assert!(missing(&rules, &json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])).is_empty());
        }
    }

    #[test]
    fn a_right_that_was_taken_away_is_named() {
        let needed = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["get"]},
        ]);
        let granted = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["other"], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["b"], "verbs": ["get"]},
        ]);
        assert_eq!(missing(&needed, &granted), ["list/watch pods", "get secrets a"]);
        assert_eq!(missing(&needed, &Value::Null), ["get/list/watch pods", "get secrets a", "get secrets b"]);
    }
}
