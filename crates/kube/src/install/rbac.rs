//! What the controller may do, and no more. docs/kubernetes-rbac.md gives each right's reason.

use serde_json::{Value, json};

use super::metadata;
use crate::names::{ANCHORS_CONFIG, CONTROLLER, INJECTOR, ISSUER_SECRET, ROOT_SECRET, VALIDATOR, WEBHOOK_SECRET};

/// The account, its rights in the cluster, and those in its own namespace.
pub(super) fn manifests(namespace: &str) -> Vec<Value> {
    let subjects = json!([{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace}]);
    let role = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": CONTROLLER});
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(CONTROLLER, Some(namespace)),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": metadata(CONTROLLER, None),
            "rules": cluster_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata(CONTROLLER, None),
            "roleRef": role("ClusterRole"),
            "subjects": subjects,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata(CONTROLLER, Some(namespace)),
            "rules": namespace_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata(CONTROLLER, Some(namespace)),
            "roleRef": role("Role"),
            "subjects": subjects,
        }),
    ]
}

/// The rules of the ClusterRole: what `crate::watch`, `identity`, `status`, `events` and `webhook` call, and nothing
/// else.
pub fn cluster_rules() -> Value {
    json!([
        rule("", &["namespaces"], READ_AND_FOLLOW),
        rule("", &["pods", "services"], FOLLOW),
        rule("apps", &["deployments"], &["get"]),
        rule("discovery.k8s.io", &["endpointslices"], FOLLOW),
        rule("security.istio.io", &["peerauthentications", "authorizationpolicies"], FOLLOW),
        rule("security.istio.io", &["peerauthentications/status", "authorizationpolicies/status"], &["patch"]),
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule("events.k8s.io", &["events"], &["create"]),
        named("admissionregistration.k8s.io", "mutatingwebhookconfigurations", INJECTOR, FOLLOW_AND_PATCH),
        named("admissionregistration.k8s.io", "validatingwebhookconfigurations", VALIDATOR, FOLLOW_AND_PATCH),
    ])
}

/// The rules of the Role in Weft's own namespace.
pub fn namespace_rules() -> Value {
    json!([
        // A right to create can't be bound to a name.
        rule("", &["secrets", "configmaps"], &["create"]),
        named("", "secrets", ROOT_SECRET, &["get"]),
        named("", "secrets", ISSUER_SECRET, &["get", "list", "watch", "update"]),
        named("", "secrets", WEBHOOK_SECRET, &["list", "watch", "update"]),
        named("", "configmaps", ANCHORS_CONFIG, READ_AND_FOLLOW),
    ])
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn named(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs})
}

const FOLLOW: &[&str] = &["list", "watch"];
const READ_AND_FOLLOW: &[&str] = &["get", "list", "watch"];
const FOLLOW_AND_PATCH: &[&str] = &["list", "watch", "patch"];
