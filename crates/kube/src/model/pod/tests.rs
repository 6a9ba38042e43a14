use super::*;
use serde_json::{Value, json};

fn read(pod: Value) -> Pod {
    Pod::read(&serde_json::from_value(pod).unwrap())
}

/// A running pod of a Deployment, with a proxy that listens.
fn pod() -> Value {
    json!({
        "metadata": {
            "name": "web-6f7d9c-abcde", "namespace": "shop", "uid": "u1",
            "creationTimestamp": "2026-01-31T12:00:00Z",
            "labels": {"app": "web", "pod-template-hash": "6f7d9c"},
            "annotations": {"config.linkerd.io/opaque-ports": "3306", "config.linkerd.io/default-inbound-policy": "deny"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6f7d9c", "uid": "r", "controller": true},
            ],
        },
        "spec": {
            "serviceAccountName": "web", "nodeName": "n1",
            "initContainers": [
                {"name": "weft-init"},
                {"name": "weft-proxy", "restartPolicy": "Always", "ports": [{"containerPort": 15008}]},
                {"name": "log", "restartPolicy": "Always", "ports": [{"containerPort": 9000}]},
                {"name": "setup", "ports": [{"containerPort": 9001}]},
            ],
            "containers": [{"name": "web", "ports": [
                {"containerPort": 8080, "name": "http"}, {"containerPort": 53, "protocol": "UDP"},
            ]}],
        },
        "status": {
            "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}],
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}],
            "initContainerStatuses": [{"name": "weft-proxy", "started": true, "ready": true, "restartCount": 0,
                                       "image": "", "imageID": ""}],
        },
    })
}

fn with(change: impl Fn(&mut Value)) -> Pod {
    let mut changed = pod();
    change(&mut changed);
    read(changed)
}

#[test]
fn what_matters_is_kept() {
    let pod = read(pod());
    assert_eq!((pod.uid.as_str(), pod.created), ("u1", 1_769_860_800));
    assert_eq!((pod.service_account.as_str(), pod.node.as_deref()), ("web", Some("n1")));
    assert_eq!(pod.addresses(), ["10.1.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    assert_eq!((pod.proxy, pod.word), (Proxy::Begun, Word::Ready));
    assert_eq!(pod.service, "web");
    let ports: Vec<_> = pod.ports.iter().map(|port| (port.number, port.name.as_deref())).collect();
    assert_eq!(ports, [(8080, Some("http")), (9000, None)]);
    assert!(pod.opaque_ports.unwrap().has(3306, None));
    assert_eq!(pod.default_inbound.as_deref(), Some("deny"));
}

#[test]
fn its_place_says_whose_its_addresses_are() {
    let phase = |phase: &str| with(|pod| pod["status"]["phase"] = json!(phase)).place;
    assert_eq!((phase("Succeeded"), phase("Failed")), (Place::Gone, Place::Gone));
    assert_eq!(with(|pod| pod["spec"]["hostNetwork"] = json!(true)).place, Place::Host);
    assert_eq!(with(|pod| pod["status"] = json!({"phase": "Pending"})).place, Place::Own(Vec::new()));
}

#[test]
fn a_proxy_that_has_not_started_is_no_missing_one() {
    assert_eq!(with(|pod| pod["status"] = json!({})).proxy, Proxy::Starting);
    let status = |started: bool, restarts: u32| {
        with(|pod| {
            pod["status"]["initContainerStatuses"][0]["started"] = json!(started);
            pod["status"]["initContainerStatuses"][0]["restartCount"] = json!(restarts);
        })
    };
    assert_eq!(status(false, 0).proxy, Proxy::Starting);
    // One that comes back is still the one to be called.
    assert_eq!(status(false, 1).proxy, Proxy::Begun);
    assert_eq!(with(|pod| pod["spec"]["initContainers"] = json!([])).proxy, Proxy::Absent);
}

#[test]
fn its_own_word_is_not_the_node_controllers() {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    let said = |conditions: Value| with(|pod| pod["status"]["conditions"] = conditions.clone()).word;
    assert_eq!(said(json!([condition("ContainersReady", "False"), condition("Ready", "True")])), Word::Unready);
    let gated = |status: &str| {
        with(|pod| {
            pod["spec"]["readinessGates"] = json!([{"conditionType": "x/gate"}]);
            pod["status"]["conditions"] = json!([condition("ContainersReady", "True"), condition("x/gate", status)]);
        })
        .word
    };
    assert_eq!((gated("True"), gated("False")), (Word::Ready, Word::Unready));
    assert_eq!(with(|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z")).word, Word::Unready);
}

#[test]
fn its_owner_is_named_as_people_name_it() {
    let owner = |kind: &str, name: &str| {
        let pod = with(|pod| {
            pod["metadata"]["ownerReferences"][0]["kind"] = json!(kind);
            pod["metadata"]["ownerReferences"][0]["name"] = json!(name);
        });
        let owner = pod.owner.unwrap();
        format!("{}/{}", owner.kind, owner.name)
    };
    assert_eq!(owner("ReplicaSet", "web-6f7d9c"), "Deployment/web");
    assert_eq!(owner("ReplicaSet", "bare"), "ReplicaSet/bare");
    assert_eq!(owner("ReplicaSet", "6f7d9c"), "ReplicaSet/6f7d9c");
    assert_eq!(owner("StatefulSet", "db"), "StatefulSet/db");
    // 2026-01-31T12:00 is minute 29,497,680: a Job of that name was due then, the others weren't.
    assert_eq!(owner("Job", "sweep-29497680"), "CronJob/sweep");
    assert_eq!(owner("Job", "import-20260131"), "Job/import-20260131");
    assert_eq!(owner("ReplicaSet", "sweep-29497680"), "ReplicaSet/sweep-29497680");
    assert_eq!(with(|pod| pod["metadata"]["ownerReferences"] = json!([])).owner, None);
}

#[test]
fn its_service_is_found_as_istio_finds_it() {
    let service = |labels: Value| with(|pod| pod["metadata"]["labels"] = labels.clone()).service;
    assert_eq!(service(json!({"service.istio.io/canonical-name": "a", "app": "b"})), "a");
    assert_eq!(service(json!({"app.kubernetes.io/name": "c", "app": "b"})), "c");
    assert_eq!(service(json!({"app": ""})), "web-6f7d9c");
    assert_eq!(read(json!({"metadata": {"name": "bare"}})).service, "bare");
}

#[test]
fn a_pod_of_nothing_is_read_too() {
    let pod = read(json!({"metadata": {}}));
    assert_eq!((pod.place, pod.proxy, pod.word), (Place::Own(Vec::new()), Proxy::Absent, Word::Unready));
    assert_eq!(pod.service_account, "default");
}
