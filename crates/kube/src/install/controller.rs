//! The controller: its Service and its Deployment, at the restricted Pod Security level.

use serde_json::{Value, json};

use super::values::Values;
use super::{VERSION, metadata};
use crate::names::{ADMIN_PORT, CONTROLLER, CONTROLLER_CONTAINER, PROXIES_PORT, WEBHOOKS_PORT};

/// Service and Deployment.
pub(super) fn manifests(namespace: &str, values: &Values) -> [Value; 2] {
    [service(namespace), deployment(namespace, values)]
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(CONTROLLER, Some(namespace)),
        "spec": {
            "selector": {COMPONENT: "controller"},
            "ports": [
                {"name": "proxies", "port": PROXIES_PORT, "targetPort": "proxies", "appProtocol": "tls"},
                {"name": "webhooks", "port": 443, "targetPort": "webhooks", "appProtocol": "https"},
                {"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "appProtocol": "http"},
            ],
        },
    })
}

fn deployment(namespace: &str, values: &Values) -> Value {
    let mut metadata = metadata(CONTROLLER, Some(namespace));
    metadata["labels"]["app.kubernetes.io/version"] = json!(VERSION);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {COMPONENT: "controller"}},
            // The old one serves until the new one does.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {
                        COMPONENT: "controller",
                        "app.kubernetes.io/name": CONTROLLER,
                        "app.kubernetes.io/part-of": "weft",
                    },
                    "annotations": {
                        "linkerd.io/inject": "disabled",
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": ADMIN_PORT.to_string(),
                    },
                },
                "spec": pod(namespace, values),
            },
        },
    })
}

fn pod(namespace: &str, values: &Values) -> Value {
    json!({
        "serviceAccountName": CONTROLLER,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": CONTROLLER_CONTAINER,
            "image": values.images.controller,
            "imagePullPolicy": values.images.pull_policy.as_str(),
            "command": ["/weft", "controller"],
            "env": environment(namespace, values),
            "ports": [
                {"name": "proxies", "containerPort": PROXIES_PORT},
                {"name": "webhooks", "containerPort": WEBHOOKS_PORT},
                {"name": "admin", "containerPort": ADMIN_PORT},
            ],
            "startupProbe": probe("/live", json!({"periodSeconds": 1, "failureThreshold": 120})),
            "readinessProbe": probe("/ready", json!({"periodSeconds": 2, "failureThreshold": 2})),
            "livenessProbe": probe("/live", json!({"periodSeconds": 10, "failureThreshold": 3})),
            "resources": values.controller.resources.to_json(),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

fn environment(namespace: &str, values: &Values) -> Value {
    let proxy_resources = values.proxy.resources.to_json().to_string();
    let named = [
        ("WEFT_NAMESPACE", namespace),
        ("WEFT_TRUST_DOMAIN", &values.trust_domain),
        ("WEFT_CLUSTER_DOMAIN", &values.cluster_domain),
        ("WEFT_CERT_LIFETIME", &values.cert_lifetime),
        ("WEFT_PROXY_IMAGE", &values.images.proxy),
        ("WEFT_IMAGE_PULL_POLICY", values.images.pull_policy.as_str()),
        ("WEFT_PROXY_RESOURCES", &proxy_resources),
        ("WEFT_PROXY_LOG", &values.proxy.log_level),
        ("WEFT_DEFAULT_INBOUND_POLICY", values.default_inbound_policy.as_str()),
        ("WEFT_LOG", &values.log_level),
    ];
    named.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// A probe of the admin port, with its times.
fn probe(path: &str, times: Value) -> Value {
    let mut probe = json!({"httpGet": {"path": path, "port": "admin"}, "timeoutSeconds": 2});
    for (key, value) in times.as_object().into_iter().flatten() {
        probe[key] = value.clone();
    }
    probe
}

/// The label by which the Service finds the pods.
const COMPONENT: &str = "weft.io/component";
/// Any user but root's and the proxies' would do.
const USER: u32 = 2103;
