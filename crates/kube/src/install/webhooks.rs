//! The webhook configurations. The controller fills in its certificate's authority, and which
//! namespaces are in the mesh.
//!
//! Three webhooks share the work by what a failure may do: a pod that belongs to the mesh never starts
//! without a proxy, and one that doesn't never waits for a controller that is away.

use serde_json::{Value, json};

use super::metadata;
use crate::names::{CONTROLLER, INJECTOR, NEVER_INJECTED, PROXY_CONTAINER, VALIDATOR};

/// A name that no namespace has: the first webhook's list may not be empty.
pub const NO_NAMESPACE: &str = "";

/// Both configurations.
pub(super) fn manifests(namespace: &str, meshed: &[String]) -> [Value; 2] {
    [injector(namespace, meshed), validator(namespace)]
}

fn injector(namespace: &str, meshed: &[String]) -> Value {
    let meshed = if meshed.is_empty() { json!([NO_NAMESPACE]) } else { json!(meshed) };
    let never: Vec<&str> = NEVER_INJECTED.into_iter().chain([namespace]).collect();
    let outside = json!({"key": NAMESPACE_NAME, "operator": "NotIn", "values": never});
    let inside = json!({"key": NAMESPACE_NAME, "operator": "In", "values": meshed});
    let webhook = |name: &str, failure: &str, selector: Value, conditions: Value| {
        json!({
            "name": format!("{name}.inject.weft.io"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": CONTROLLER, "namespace": namespace, "path": "/inject", "port": 443}},
            "failurePolicy": failure,
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": selector},
            "matchConditions": conditions,
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "reinvocationPolicy": "Never",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": 10,
        })
    };
    let condition = |name: &str, expression: String| json!({"name": name, "expression": expression});
    let able = condition("own-network", OWN_NETWORK.to_owned());
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata(INJECTOR, None),
        "webhooks": [
            webhook("meshed", "Fail", json!([inside, outside]), json!([
                able, condition("stays-in", format!("!({})", says(OPTS_OUT)))
            ])),
            webhook("asked", "Fail", json!([outside]), json!([able, condition("asks", says(OPTS_IN))])),
            webhook("rest", "Ignore", json!([outside]), json!([condition("not-injected", not_injected())])),
        ],
    })
}

fn validator(namespace: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata(VALIDATOR, None),
        "webhooks": [{
            "name": "validate.weft.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": CONTROLLER, "namespace": namespace, "path": "/validate", "port": 443}},
            // A policy that can't be understood denies anyway, and its status says so.
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "rules": [{
                "apiGroups": ["security.istio.io"],
                "apiVersions": ["v1", "v1beta1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["peerauthentications", "authorizationpolicies"],
                "scope": "Namespaced",
            }],
            "sideEffects": "None",
            "timeoutSeconds": 5,
        }],
    })
}

/// A key under `labels` or `annotations`, and the values that decide; none of them: its presence does.
type Word = (&'static str, &'static str, &'static [&'static str]);

/// Whether a pod has one of these words, in the API server's expression language (CEL).
fn says(words: &[Word]) -> String {
    let one = |(field, key, values): &Word| {
        let map = format!("object.metadata.{field}");
        let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
        let decides = match quoted.is_empty() {
            true => String::new(),
            false => format!(" && {map}['{key}'] in [{}]", quoted.join(", ")),
        };
        format!("has({map}) && '{key}' in {map}{decides}")
    };
    words.iter().map(|word| format!("({})", one(word))).collect::<Vec<_>>().join(" || ")
}

/// The earlier webhooks have done it: the API server asks with the pod as they left it.
fn not_injected() -> String {
    format!("!(has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name == '{PROXY_CONTAINER}'))")
}

/// What a pod says that wants in.
const OPTS_IN: &[Word] = &[
    ("annotations", "linkerd.io/inject", &["enabled", "ingress"]),
    ("annotations", "weft.io/inject", &["enabled", "ingress"]),
    ("labels", "weft.io/inject", &["enabled", "ingress"]),
    ("labels", "sidecar.istio.io/inject", &["true"]),
    ("labels", "istio.io/rev", &[]),
];
/// What a pod says that wants out.
const OPTS_OUT: &[Word] = &[
    ("annotations", "linkerd.io/inject", &["disabled"]),
    ("annotations", "weft.io/inject", &["disabled"]),
    ("labels", "weft.io/inject", &["disabled"]),
    ("labels", "sidecar.istio.io/inject", &["false"]),
    ("annotations", "sidecar.istio.io/inject", &["false"]),
];
/// The label that the API server gives each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// A pod of the host's network is never injected.
const OWN_NETWORK: &str = "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)";
