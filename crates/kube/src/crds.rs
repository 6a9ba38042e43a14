//! The definitions of Istio's policy kinds, as `weft install --crds` prints them.
//!
//! Their schemas name every field, for `kubectl explain` and types, but refuse and prune nothing that
//! Weft's own parser has words for: each mapping keeps what it doesn't know.

use serde_json::{Map, Value, json};

use crate::names::{MANAGED_BY, MANAGER};

/// One definition to make, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The name of the definition object.
    pub name: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    column: (&'static str, &'static str),
    spec: fn() -> Value,
}

/// The definitions that Weft needs.
pub const DEFINITIONS: [Definition; 2] = [
    Definition {
        name: "peerauthentications.security.istio.io",
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        short: "pa",
        column: ("Mode", ".spec.mtls.mode"),
        spec: peer_authentication,
    },
    Definition {
        name: "authorizationpolicies.security.istio.io",
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        short: "ap",
        column: ("Action", ".spec.action"),
        spec: authorization_policy,
    },
];

/// The versions that each serves, the stored one first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// What a cluster has under a definition's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// One that Weft made, of this revision or an older one.
    Ours,
    /// One of another maker, or of a newer Weft: it is left alone.
    Theirs,
}

/// What this cluster has, told by the definition's own labels and annotations.
pub fn standing(found: Option<&Value>) -> Standing {
    let Some(found) = found else { return Standing::Absent };
    let ours = found["metadata"]["labels"][MANAGED_BY] == MANAGER;
    let revision = found["metadata"]["annotations"][REVISION_KEY].as_str().and_then(|text| text.parse::<u32>().ok());
    match ours && revision.is_none_or(|revision| revision <= REVISION) {
        true => Standing::Ours,
        false => Standing::Theirs,
    }
}

/// The versions that Weft needs and a definition doesn't serve.
pub fn missing_versions(found: &Value) -> Vec<&'static str> {
    let versions = found["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let served = |name: &&str| versions.iter().any(|version| version["name"] == **name && version["served"] == true);
    VERSIONS.into_iter().filter(|name| !served(name)).collect()
}

impl Definition {
    /// The object to apply.
    pub fn manifest(&self) -> Value {
        let versions: Vec<Value> = VERSIONS.iter().map(|version| self.version(version)).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": self.name,
                "labels": {MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "weft"},
                "annotations": {REVISION_KEY: REVISION.to_string()},
            },
            "spec": {
                "group": "security.istio.io",
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": self.kind.to_lowercase(),
                    "shortNames": [self.short],
                    "categories": ["istio-io", "security-istio-io"],
                },
                "versions": versions,
            },
        })
    }

    fn version(&self, version: &str) -> Value {
        let (column, path) = self.column;
        json!({
            "name": version,
            "served": true,
            "storage": version == VERSIONS[0],
            "subresources": {"status": {}},
            "additionalPrinterColumns": [
                {"name": column, "type": "string", "jsonPath": path},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ],
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": (self.spec)(), "status": status()},
            }},
        })
    }
}

fn peer_authentication() -> Value {
    let mutual_tls = || open(&[("mode", text())]);
    open(&[
        ("selector", selector()),
        ("mtls", mutual_tls()),
        ("portLevelMtls", json!({"type": "object", "additionalProperties": mutual_tls()})),
    ])
}

fn authorization_policy() -> Value {
    let reference = || open(&[("group", text()), ("kind", text()), ("name", text()), ("namespace", text())]);
    let source = texts(&[
        "principals",
        "notPrincipals",
        "requestPrincipals",
        "notRequestPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
        "trustDomains",
        "notTrustDomains",
        "ipBlocks",
        "notIpBlocks",
        "remoteIpBlocks",
        "notRemoteIpBlocks",
    ]);
    let operation = texts(&["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"]);
    let condition = open(&[("key", text()), ("values", list(text())), ("notValues", list(text()))]);
    let rule = open(&[
        ("from", list(open(&[("source", source)]))),
        ("to", list(open(&[("operation", operation)]))),
        ("when", list(condition)),
    ]);
    open(&[
        ("selector", selector()),
        ("targetRef", reference()),
        ("targetRefs", list(reference())),
        ("action", text()),
        ("provider", open(&[("name", text())])),
        ("rules", list(rule)),
    ])
}

fn selector() -> Value {
    open(&[("matchLabels", json!({"type": "object", "additionalProperties": text()}))])
}

fn status() -> Value {
    let condition = json!({
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": text(),
            "status": text(),
            "reason": text(),
            "message": text(),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
    });
    open(&[(
        "conditions",
        json!({"type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    )])
}

/// A mapping of these fields, and of others that Weft's parser will name.
fn open(fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties})
}

fn texts(names: &[&str]) -> Value {
    open(&names.iter().map(|name| (*name, list(text()))).collect::<Vec<_>>())
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn text() -> Value {
    json!({"type": "string"})
}

/// Grows with each change of the definitions.
const REVISION: u32 = 1;
const REVISION_KEY: &str = "weft.io/crd-revision";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_fits_what_client_side_apply_can_hold() {
        for definition in DEFINITIONS {
            let text = definition.manifest().to_string();
            assert!(text.len() < 262_144 / 2, "{}: {} bytes", definition.name, text.len());
            assert!(!text.contains("\"description\""));
        }
    }

    #[test]
    fn what_others_made_or_a_newer_weft_is_told_from_ours() {
        let ours = DEFINITIONS[0].manifest();
        assert_eq!(standing(None), Standing::Absent);
        assert_eq!(standing(Some(&ours)), Standing::Ours);
        assert!(missing_versions(&ours).is_empty());
        let mut newer = ours.clone();
        newer["metadata"]["annotations"][REVISION_KEY] = json!("99");
        assert_eq!(standing(Some(&newer)), Standing::Theirs);
        let mut istio = ours;
        istio["metadata"] = json!({"name": DEFINITIONS[0].name, "labels": {"chart": "istio"}});
        istio["spec"]["versions"][0]["served"] = json!(false);
        assert_eq!(standing(Some(&istio)), Standing::Theirs);
        assert_eq!(missing_versions(&istio), ["v1"]);
    }
}
