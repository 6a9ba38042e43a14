use serde_json::{Value, json};

use super::super::review::read_review;
use super::*;
use crate::inject::{Marks, Resources};

fn question(kind: &str, object: Value) -> Request {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u1", "kind": {"group": "", "version": "v1", "kind": kind}, "namespace": "shop",
                    "operation": "CREATE", "object": object},
    });
    read_review(review.to_string().as_bytes()).unwrap()
}

pub(in super::super) fn config() -> Config {
    Config {
        namespace: "weft".into(),
        trust_domain: "cluster.local".into(),
        cluster_domain: "cluster.local".into(),
        proxy_image: "proxy:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        control_address: "10.0.0.9:15012".parse().unwrap(),
        trust_anchors: "PEM".into(),
        resources: Resources::default(),
        log: "info".into(),
    }
}

fn meshed() -> NamespaceMarks {
    let mut marks = Marks::default();
    marks.labels.insert("istio-injection".into(), "enabled".into());
    NamespaceMarks { name: "shop".into(), marks }
}

fn written(review: &Review) -> Value {
    serde_json::to_value(review).unwrap()["response"].clone()
}

#[test]
fn a_pod_gets_a_patch() {
    let pod = json!({"metadata": {"name": "p", "annotations": {"config.linkerd.io/admin-port": "1"}}, "spec": {"containers": [{"name": "c"}]}});
    let injection = injection(&question("Pod", pod), &meshed(), &config()).unwrap();
    let response = written(&injection.review);
    assert_eq!(
        (&response["uid"], &response["allowed"], &response["patchType"]),
        (&json!("u1"), &json!(true), &json!("JSONPatch"))
    );
    assert!(response["patch"].as_str().unwrap().starts_with("W3si"), "base64 of a list of operations");
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    assert!(injection.skipped.is_empty() && injection.notice.is_some());
}

#[test]
fn a_pod_that_gets_none_passes_and_its_owner_is_told() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [], "hostNetwork": true}});
    let skipped = injection(&question("Pod", pod.clone()), &meshed(), &config()).unwrap();
    assert_eq!(written(&skipped.review), json!({"uid": "u1", "allowed": true}));
    assert_eq!(skipped.skipped, [Reason::HostNetwork]);
    assert!(skipped.notice.is_some());
    let outside = NamespaceMarks { name: "shop".into(), marks: Marks::default() };
    let silent = injection(&question("Pod", pod), &outside, &config()).unwrap();
    assert_eq!((silent.skipped, silent.notice), (vec![Reason::NotAsked], None));
}

#[test]
fn what_is_no_pod_is_a_failure() {
    for object in [Value::Null, json!({}), json!({"spec": 7}), json!({"spec": {"containers": "x"}}), json!([])] {
        let answer = injection(&question("Pod", object.clone()), &meshed(), &config());
        assert!(answer.is_err() || !answer.unwrap().skipped.is_empty(), "{object}");
    }
    assert!(!is_new_pod(&question("Deployment", json!({}))));
}

/// As the API server sends it, with its own fields.
fn policy(spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop", "uid": "x", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]},
        "spec": spec,
    })
}

fn judge(object: Value) -> Value {
    written(&validation(&question("AuthorizationPolicy", object), "mesh.example"))
}

#[test]
fn a_policy_is_judged_in_the_folders_words() {
    let good = policy(json!({"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]}));
    assert_eq!(judge(good), json!({"uid": "u1", "allowed": true}));
    let bad = policy(json!({"action": "ALOW", "rules": [{"form": []}]}));
    let response = judge(bad.clone());
    let message = response["status"]["message"].as_str().unwrap();
    assert_eq!(response["allowed"], false);
    let folder = weft_resources::parse("x.yaml", bad.to_string().as_bytes());
    for problem in folder.problems.iter().filter(|problem| problem.severity == Severity::Error) {
        assert!(message.contains(&problem.message), "{message} lacks {problem}");
    }
    assert!(message.starts_with("spec.action: expected"), "{message}");
}

/// `form` for `from` would admit everybody.
#[test]
fn an_unknown_field_is_refused() {
    let bad = policy(json!({"action": "ALLOW", "rules": [{"form": []}]}));
    let response = judge(bad);
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("spec.rules[0].form: expected a known field"), "{message}");
}

/// Nobody could delete one with a finalizer otherwise.
#[test]
fn what_stands_in_a_policy_already_is_not_refused_again() {
    let bad = policy(json!({"action": "ALLOW", "rules": [{"form": []}]}));
    let change = |to: Value| {
        let mut question = question("AuthorizationPolicy", to);
        question.old_object = bad.clone();
        written(&validation(&question, "mesh.example"))
    };
    let mut marked = bad.clone();
    marked["metadata"]["labels"] = json!({"a": "b"});
    let response = change(marked);
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().starts_with("spec.rules[0].form"), "{response}");
    let worse = change(policy(json!({"action": "ALOW", "rules": [{"form": []}]})));
    assert_eq!(worse["allowed"], false);
}

/// It closes until it can be enforced, so to refuse it would open what it was meant to close.
#[test]
fn what_cannot_be_enforced_is_stored_with_a_warning() {
    let custom = judge(policy(json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]})));
    assert_eq!(custom["allowed"], true);
    assert!(custom["warnings"][0].as_str().unwrap().contains("CUSTOM is not supported yet"), "{custom}");
    let own = json!({"rules": [{"from": [{"source": {"principals": ["mesh.example/ns/shop/sa/web"]}}]}]});
    assert_eq!(judge(policy(own))["warnings"], Value::Null);
    let mut nothing = policy(json!({}));
    nothing.as_object_mut().unwrap().remove("spec");
    assert_eq!(judge(nothing)["allowed"], true, "as the controller reads it");
}

#[test]
fn a_policy_that_goes_passes() {
    assert_eq!(judge(Value::Null)["allowed"], true);
}

#[test]
fn a_namespace_that_will_refuse_the_pod_is_told_what_to_do() {
    let warned = |level: &str| {
        let mut namespace = meshed();
        namespace.marks.labels.insert(inject::SECURITY_KEY.to_owned(), level.to_owned());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        written(&injection(&question("Pod", pod), &namespace, &config()).unwrap().review)["warnings"].clone()
    };
    for level in ["baseline", "restricted"] {
        let warnings = warned(level);
        let first = warnings[0].as_str().unwrap();
        assert!(first.contains(level), "{first}");
        // Whole, though the API server takes no long warning.
        assert!(first.ends_with("namespace shop pod-security.kubernetes.io/enforce=privileged"), "{first}");
    }
    assert_eq!(warned("privileged"), Value::Null);
}

#[test]
fn whoever_made_a_pod_is_told_in_linkerds_words() {
    let kind = |metadata: Value| {
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c"}]}});
        injection(&question("Pod", pod), &meshed(), &config()).unwrap().owner_kind
    };
    let owned = |kind: &str| json!([{"apiVersion": "v1", "kind": kind, "name": "x", "uid": "u", "controller": true}]);
    assert_eq!(kind(json!({})), "pod");
    assert_eq!(kind(json!({"ownerReferences": owned("ReplicaSet")})), "replicaset");
    let templated = json!({"ownerReferences": owned("ReplicaSet"), "labels": {"pod-template-hash": "1"}});
    assert_eq!(kind(templated), "deployment");
    assert_eq!(kind(json!({"ownerReferences": owned("StatefulSet")})), "statefulset");
    assert_eq!(kind(json!({"ownerReferences": owned("Whatever\"}")})), "other");
}

#[test]
fn warnings_are_as_many_and_as_long_as_the_api_server_passes_on() {
    let given = warnings(&vec!["ä".repeat(300); 20]);
    assert_eq!((given.len(), given[0].chars().count()), (16, 240));
}
