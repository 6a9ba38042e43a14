//! The objects of a plan, as the API server takes them. Pure.

use serde_json::{Value, json};

use crate::plan::{HASH, Plan, Pod};

/// An object and the collection that takes it.
pub(crate) struct Object {
    pub(crate) collection: String,
    pub(crate) body: Value,
}

/// Namespaces, in the mesh or not.
pub(crate) fn namespaces(plan: Plan) -> impl Iterator<Item = Object> {
    (0..plan.namespaces).map(move |namespace| {
        let annotations = match namespace < plan.meshed_namespaces() {
            true => json!({"linkerd.io/inject": "enabled"}),
            false => json!({}),
        };
        let metadata = json!({"name": plan.namespace_name(namespace), "annotations": annotations});
        object("/api/v1/namespaces", json!({"metadata": metadata}))
    })
}

/// The accounts of all pods.
pub(crate) fn accounts(plan: Plan) -> impl Iterator<Item = Object> {
    let own = move |pod: &Pod| plan.has_proxy(*pod) || pod.index.is_multiple_of(plan.pods_of_a_service());
    plan.all_pods().filter(own).map(move |pod| {
        let home = plan.home_of(plan.service_of(pod));
        object(
            &format!("/api/v1/namespaces/{home}/serviceaccounts"),
            json!({"metadata": {"name": plan.account_of(pod)}, "automountServiceAccountToken": false}),
        )
    })
}

/// A Service.
pub(crate) fn service(plan: Plan, service: usize) -> Object {
    let name = plan.service_name(service);
    object(
        &format!("/api/v1/namespaces/{}/services", plan.home_of(service)),
        json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }),
    )
}

/// A pod of a Deployment, on a node that nobody asks about.
pub(crate) fn pod(plan: Plan, pod: Pod) -> Object {
    let service = plan.service_name(plan.service_of(pod));
    let home = plan.home_of(plan.service_of(pod));
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{service}-{HASH}"), "controller": true,
        "uid": format!("00000000-0000-4000-8000-{:012x}", plan.service_of(pod)),
    });
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10});
    let container = json!({
        "name": "app", "image": "registry.example/shop/app:1.2.3",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "PORT", "value": "8080"}, {"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": probe, "livenessProbe": probe,
    });
    object(
        &format!("/api/v1/namespaces/{home}/pods"),
        json!({
            "metadata": {
                "name": plan.pod_name(pod),
                "labels": {
                    "app": service, "app.kubernetes.io/name": service, "app.kubernetes.io/instance": "production",
                    "app.kubernetes.io/version": "1.2.3", "pod-template-hash": HASH,
                },
                "ownerReferences": [owner],
            },
            "spec": {
                "nodeName": node(pod), "serviceAccountName": plan.account_of(pod),
                "automountServiceAccountToken": false, "containers": [container],
            },
        }),
    )
}

/// What a kubelet says of a pod that runs and is ready, and so are these native sidecars of it.
pub(crate) fn running(pod: Pod, sidecars: &[&str]) -> Value {
    let ip = pod.address().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": SINCE});
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example/shop/app:1.2.3", "imageID": "sha256:0", "ready": true,
            "started": true, "restartCount": 0, "state": {"running": {"startedAt": SINCE}},
        })
    };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let sidecars: Vec<Value> = sidecars.iter().map(|name| container(name)).collect();
    json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.1.0.1", "hostIPs": [{"ip": "10.1.0.1"}],
        "startTime": SINCE,
        "conditions": conditions,
        "containerStatuses": [container("app")], "initContainerStatuses": sidecars,
    }})
}

/// A Service's endpoints.
pub(crate) fn slice(plan: Plan, service: usize, pods: &[Pod]) -> Object {
    let (name, home) = (plan.service_name(service), plan.home_of(service));
    object(
        &format!("/apis/discovery.k8s.io/v1/namespaces/{home}/endpointslices"),
        json!({
            "metadata": {"name": slice_name(plan, service), "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints(plan, service, pods, None),
        }),
    )
}

/// The endpoints of a slice, of which one may not be ready.
pub(crate) fn endpoints(plan: Plan, service: usize, pods: &[Pod], unready: Option<Pod>) -> Value {
    let endpoint = |pod: &Pod| {
        let ready = Some(*pod) != unready;
        json!({
            "addresses": [pod.address().to_string()],
            "conditions": {"ready": ready, "serving": ready, "terminating": false},
            "nodeName": node(*pod),
            "targetRef": {"kind": "Pod", "namespace": plan.home_of(service), "name": plan.pod_name(*pod)},
        })
    };
    pods.iter().map(endpoint).collect()
}

pub(crate) fn slice_name(plan: Plan, service: usize) -> String {
    format!("{}-x7k2p", plan.service_name(service))
}

/// Three policies for each namespace: an AuthorizationPolicy of all its pods and one of a service, and a
/// PeerAuthentication of another service's port, for the rest of which the mesh's holds.
pub(crate) fn policies(plan: Plan) -> impl Iterator<Item = Object> {
    (0..plan.namespaces).flat_map(move |namespace| {
        let first = namespace * plan.services / plan.namespaces;
        let selector = json!({"matchLabels": {"app": plan.service_name(first)}});
        let principals = json!([format!("cluster.local/ns/{}/sa/*", plan.namespace_name(namespace))]);
        let own = json!({"selector": selector, "action": "ALLOW", "rules": [
            {"from": [{"source": {"principals": principals}}], "to": [{"operation": {"methods": ["GET", "POST"]}}]},
            {"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"paths": ["/healthz"]}}]},
        ]});
        let port = json!({"selector": selector, "portLevelMtls": {"9090": {"mode": "PERMISSIVE"}}});
        let (collection, name) = (policy_collection(plan, namespace), "every-pod");
        [
            object(&collection, json!({"metadata": {"name": name}, "spec": denial(0)})),
            object(&collection, json!({"metadata": {"name": "callers"}, "spec": own})),
            object(
                &format!("{SECURITY}/{}/peerauthentications", plan.namespace_name(namespace)),
                json!({"metadata": {"name": "metrics-port"}, "spec": port}),
            ),
        ]
    })
}

/// The policy `every-pod` of a namespace, which differs from one `edition` to the next.
pub(crate) fn denial(edition: usize) -> Value {
    let paths = ["/internal/*".to_owned(), edition_path(edition)];
    json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": paths}}]}]})
}

/// By what an edition of the policy is known in a record.
pub(crate) fn edition_path(edition: usize) -> String {
    format!("/edition-{edition}")
}

pub(crate) fn policy_collection(plan: Plan, namespace: usize) -> String {
    format!("{SECURITY}/{}/authorizationpolicies", plan.namespace_name(namespace))
}

/// The whole mesh's PeerAuthentication.
pub(crate) fn mesh_wide(mode: &str) -> Object {
    object(
        &format!("{SECURITY}/istio-system/peerauthentications"),
        json!({"metadata": {"name": "default"}, "spec": {"mtls": {"mode": mode}}}),
    )
}

/// The API server wants kinds of custom resources alone.
fn object(collection: &str, mut body: Value) -> Object {
    let kind = match collection.rsplit('/').next() {
        Some("peerauthentications") => Some("PeerAuthentication"),
        Some("authorizationpolicies") => Some("AuthorizationPolicy"),
        _ => None,
    };
    if let Some(kind) = kind {
        body["apiVersion"] = json!("security.istio.io/v1");
        body["kind"] = json!(kind);
    }
    Object { collection: collection.to_owned(), body }
}

fn node(pod: Pod) -> String {
    format!("node-{}", pod.index % NODES)
}

const SECURITY: &str = "/apis/security.istio.io/v1/namespaces";
const NODES: usize = 100;
const SINCE: &str = "2026-01-01T00:00:00Z";
