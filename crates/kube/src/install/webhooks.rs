//! The webhook configurations. The controller fills in its certificate's authority, and which
//! namespaces are in the mesh.
//!
//! Four webhooks share the work by what a failure may do: a pod that belongs to the mesh never starts
//! without a proxy, and one that doesn't never waits for a controller that is away. What `inject::decide`
//! says of a pod is said here again in the API server's words, as far as it tells these two apart.

use serde_json::{Value, json};

use super::metadata;
use crate::inject::{
    CONTROL_PLANE_LABELS, ISTIO_INJECTION, MIRROR_ANNOTATION, OTHER_IMAGES, OTHER_SIDECARS, WEBHOOKS_LABEL,
};
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
    // Whose pods never get a proxy, or not by Istio's marks.
    let open = json!({"key": WEBHOOKS_LABEL, "operator": "NotIn", "values": ["disabled"]});
    let not_closed = json!({"key": ISTIO_INJECTION, "operator": "NotIn", "values": ["disabled"]});
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
    let able: Vec<Value> = ABLE.iter().map(|(name, unfit)| condition(name, format!("!({})", unfit()))).collect();
    let asks = |words| [able.clone(), vec![condition("asks", says(words))]].concat();
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata(INJECTOR, None),
        "webhooks": [
            webhook("meshed", "Fail", json!([inside, open, outside]), json!(able)),
            webhook("asked", "Fail", json!([open, outside]), json!(asks(OPTS_IN))),
            webhook("labelled", "Fail", json!([not_closed, open, outside]), json!(asks(OPTS_IN_BY_ISTIO))),
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

/// What a pod says that wants out. The annotation counts only where the label of its name is absent.
fn opts_out() -> String {
    let (labels, annotations) = ("object.metadata.labels", "object.metadata.annotations");
    let istio = format!(
        "has({annotations}) && '{ISTIO_INJECT}' in {annotations} && {annotations}['{ISTIO_INJECT}'].lowerAscii() in \
         ['false', 'no', 'n', 'off'] && !(has({labels}) && '{ISTIO_INJECT}' in {labels})"
    );
    format!("{} || ({istio})", says(OPTS_OUT))
}

/// Another mesh's containers, by their names or their images.
fn in_another_mesh() -> String {
    let names = OTHER_SIDECARS.map(|name| format!("'{name}'")).join(", ");
    let image = format!("(^|/)({})(:[^/@]*)?(@.*)?$", OTHER_IMAGES.join("|"));
    let other = format!("c.name in [{names}] || (has(c.image) && c.image.matches('{image}'))");
    let within = |list: &str| format!("(has(object.spec.{list}) && object.spec.{list}.exists(c, {other}))");
    ["containers", "initContainers"].map(within).join(" || ")
}

/// A mirror of a static pod, or a part of another mesh's control plane.
fn never_injected() -> String {
    let mirror: Word = ("annotations", MIRROR_ANNOTATION, &[]);
    let parts = CONTROL_PLANE_LABELS.map(|key| -> Word { ("labels", key, &[]) });
    says(&[&[mirror][..], &parts].concat())
}

/// The earlier webhooks have done it: the API server asks with the pod as they left it.
fn not_injected() -> String {
    format!("!(has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name == '{PROXY_CONTAINER}'))")
}

/// What keeps a pod from getting a proxy, whatever else it says: such a pod waits for nobody.
type Unfit = (&'static str, fn() -> String);
const ABLE: [Unfit; 5] = [
    ("own-network", || "has(object.spec.hostNetwork) && object.spec.hostNetwork".to_owned()),
    ("on-linux", || "has(object.spec.os) && object.spec.os.name == 'windows'".to_owned()),
    ("no-other-mesh", in_another_mesh),
    ("injectable", never_injected),
    ("stays-in", opts_out),
];

/// What a pod says that wants in.
const OPTS_IN: &[Word] = &[
    ("annotations", "linkerd.io/inject", &["enabled", "ingress"]),
    ("annotations", "weft.io/inject", &["enabled", "ingress"]),
    ("labels", "weft.io/inject", &["enabled", "ingress"]),
];
/// Likewise, where the namespace isn't closed to Istio's marks.
const OPTS_IN_BY_ISTIO: &[Word] = &[("labels", ISTIO_INJECT, &["true"]), ("labels", "istio.io/rev", &[])];
/// What a pod says that wants out, but for one annotation.
const OPTS_OUT: &[Word] = &[
    ("annotations", "linkerd.io/inject", &["disabled"]),
    ("annotations", "weft.io/inject", &["disabled"]),
    ("labels", "weft.io/inject", &["disabled"]),
    ("labels", ISTIO_INJECT, &["false"]),
];
/// Istio's switch on pods.
const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
/// The label that the API server gives each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
