//! Policies of the API server, read by the parser that reads a folder's files. Pure.

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use weft_resources::Parsed;

/// The kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PolicyKind {
    PeerAuthentication,
    AuthorizationPolicy,
}

impl PolicyKind {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::PeerAuthentication, Self::AuthorizationPolicy];

    /// Their API group.
    pub(crate) const GROUP: &'static str = "security.istio.io";
    /// Its versions, the newer first; both mean the same.
    pub(crate) const VERSIONS: [&'static str; 2] = ["v1", "v1beta1"];

    /// The kind as the API server names it.
    pub(crate) fn resource(self, version: &str) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(Self::GROUP, version, self.as_str()), self.plural())
    }

    /// The kind's own name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
        }
    }

    /// The name of the kind's collection.
    fn plural(self) -> &'static str {
        match self {
            Self::PeerAuthentication => "peerauthentications",
            Self::AuthorizationPolicy => "authorizationpolicies",
        }
    }
}

/// A policy as it was read, and what it says of itself now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) parsed: Parsed,
    pub(crate) generation: i64,
    /// The conditions that its status holds: type, and the rest as it stands there.
    pub(crate) conditions: BTreeMap<String, serde_json::Value>,
}

impl Policy {
    /// Reads a policy. Whatever it holds, something comes out that fails closed.
    pub(crate) fn read(kind: PolicyKind, object: &DynamicObject) -> Self {
        let mut document = serde_json::json!({
            "apiVersion": "security.istio.io/v1",
            "kind": kind.as_str(),
            "metadata": &object.metadata,
            // An API server cuts no object short: what isn't said there was left out on purpose.
            "spec": {},
        });
        if let (Some(into), Some(fields)) = (document.as_object_mut(), object.data.as_object()) {
            into.extend(
                fields.iter().filter(|(key, _)| *key != "status").map(|(key, value)| (key.clone(), value.clone())),
            );
        }
        if let Some(metadata) = document["metadata"].as_object_mut() {
            // No policy reads them, and they are as long as the policy itself.
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(|all| all.as_object_mut()) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let origin = format!("{} {namespace}/{name}", kind.as_str());
        Self {
            parsed: weft_resources::parse_object(&origin, &document.to_string()),
            generation: object.metadata.generation.unwrap_or_default(),
            conditions: conditions(&object.data["status"]["conditions"]),
        }
    }
}

fn conditions(list: &serde_json::Value) -> BTreeMap<String, serde_json::Value> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|condition| Some((condition["type"].as_str()?.to_owned(), condition.clone()))).collect()
}
