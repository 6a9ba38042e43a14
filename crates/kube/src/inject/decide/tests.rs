use serde_json::{Value, json};

use super::*;

/// Marks written as `annotation KEY=VALUE` or `label KEY=VALUE`.
fn marks(written: &[&str]) -> Marks {
    let mut marks = Marks::default();
    for mark in written {
        let (kind, rest) = mark.split_once(' ').unwrap();
        let (key, value) = rest.split_once('=').unwrap();
        let map = if kind == "label" { &mut marks.labels } else { &mut marks.annotations };
        map.insert(key.to_owned(), value.to_owned());
    }
    marks
}

fn pod(written: &[&str], spec: Value) -> Pod {
    let Marks { labels, annotations } = marks(written);
    serde_json::from_value(json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})).unwrap()
}

fn namespace(name: &str, written: &[&str]) -> NamespaceMarks {
    NamespaceMarks { name: name.to_owned(), marks: marks(written) }
}

/// The reason's word, or `injected`.
fn verdict(namespace_marks: &[&str], pod_marks: &[&str]) -> &'static str {
    let pod = pod(pod_marks, json!({"containers": [{"name": "web"}]}));
    match decide(&namespace("shop", namespace_marks), &pod, "weft") {
        Verdict::Inject(_) => "injected",
        Verdict::Skip(reasons) => reasons[0].code(),
    }
}

const IN: &str = "injected";
const ABSENT: &str = "injection_enable_annotation_absent";
const DISABLED: &str = "injection_disable_annotation_present";
const CONTRADICTION: &str = "contradiction";

#[test]
fn linkerds_annotation() {
    const ON: &str = "annotation linkerd.io/inject=enabled";
    const INGRESS: &str = "annotation linkerd.io/inject=ingress";
    const OFF: &str = "annotation linkerd.io/inject=disabled";
    const WRONG: &str = "annotation linkerd.io/inject=true";
    for (namespace, pod, expected) in [
        (&[][..], &[][..], ABSENT),
        (&[], &[ON], IN),
        (&[], &[INGRESS], IN),
        (&[], &[OFF], DISABLED),
        (&[ON], &[], IN),
        (&[INGRESS], &[], IN),
        (&[ON], &[OFF], DISABLED),
        (&[OFF], &[], DISABLED),
        (&[OFF], &[ON], IN),
        (&[OFF], &[INGRESS], IN),
        (&[WRONG], &[ON], "invalid_inject_annotation_at_ns"),
        (&[WRONG], &[OFF], DISABLED),
        (&[ON], &[WRONG], "invalid_inject_annotation_at_workload"),
        (&[], &["label linkerd.io/inject=enabled"], ABSENT),
    ] {
        assert_eq!(verdict(namespace, pod), expected, "{namespace:?} {pod:?}");
    }
}

#[test]
fn istios_labels() {
    const ON: &str = "label istio-injection=enabled";
    const OFF: &str = "label istio-injection=disabled";
    const REVISION: &str = "label istio.io/rev=canary";
    const POD_ON: &str = "label sidecar.istio.io/inject=true";
    const POD_OFF: &str = "label sidecar.istio.io/inject=false";
    const NOTE_ON: &str = "annotation sidecar.istio.io/inject=true";
    const NOTE_OFF: &str = "annotation sidecar.istio.io/inject=false";
    for (namespace, pod, expected) in [
        (&[ON][..], &[][..], IN),
        (&[ON], &[POD_OFF], DISABLED),
        (&[ON], &[NOTE_OFF], DISABLED),
        (&[ON], &[POD_ON, NOTE_OFF], IN),
        (&[ON], &["label sidecar.istio.io/inject=perhaps"], IN),
        (&[OFF], &[], DISABLED),
        (&[OFF], &[POD_ON], DISABLED),
        (&[OFF], &[REVISION], DISABLED),
        (&[OFF, REVISION], &[], DISABLED),
        (&[REVISION], &[], IN),
        (&[REVISION], &[POD_OFF], DISABLED),
        (&["label istio-injection=perhaps"], &[], ABSENT),
        (&["label istio-injection=perhaps", REVISION], &[], ABSENT),
        (&["label istio-injection=perhaps"], &[POD_ON], IN),
        (&[], &[POD_ON], IN),
        (&[], &[REVISION], IN),
        (&[], &[REVISION, POD_OFF], DISABLED),
        (&[], &[NOTE_ON], ABSENT),
        (&[], &[ON], ABSENT),
        (&["annotation istio-injection=enabled"], &[], ABSENT),
    ] {
        assert_eq!(verdict(namespace, pod), expected, "{namespace:?} {pod:?}");
    }
}

#[test]
fn wefts_own_mark_and_both_dialects_together() {
    const LINKERD: &str = "annotation linkerd.io/inject=enabled";
    const NO_LINKERD: &str = "annotation linkerd.io/inject=disabled";
    const ISTIO: &str = "label istio-injection=enabled";
    const NO_ISTIO: &str = "label istio-injection=disabled";
    const WEFT: &str = "label weft.io/inject=enabled";
    for (namespace, pod, expected) in [
        (&[WEFT][..], &[][..], IN),
        (&["annotation weft.io/inject=enabled"], &[], IN),
        (&[], &[WEFT], IN),
        (&[WEFT], &["annotation weft.io/inject=disabled"], DISABLED),
        (&[], &[WEFT, "annotation weft.io/inject=disabled"], CONTRADICTION),
        (&[LINKERD, NO_ISTIO], &[], CONTRADICTION),
        (&[LINKERD, NO_ISTIO], &[LINKERD], CONTRADICTION),
        (&[ISTIO, NO_LINKERD], &[], CONTRADICTION),
        (&[ISTIO], &[NO_LINKERD], DISABLED),
        (&[LINKERD], &["label sidecar.istio.io/inject=false"], DISABLED),
        (&[LINKERD], &["annotation sidecar.istio.io/inject=false"], DISABLED),
        (&[NO_ISTIO], &[LINKERD], IN),
        (&[NO_LINKERD], &["label sidecar.istio.io/inject=true"], IN),
        (&[], &[LINKERD, "label sidecar.istio.io/inject=false"], CONTRADICTION),
        (&[], &["label weft.io/inject=yes"], "invalid_inject_annotation_at_workload"),
    ] {
        assert_eq!(verdict(namespace, pod), expected, "{namespace:?} {pod:?}");
    }
}

#[test]
fn a_contradiction_is_told() {
    let pod = pod(
        &["annotation linkerd.io/inject=enabled", "label sidecar.istio.io/inject=false"],
        json!({"containers": []}),
    );
    let Verdict::Skip(reasons) = decide(&namespace("shop", &[]), &pod, "weft") else { panic!("injected") };
    assert_eq!(
        reasons[0].to_string(),
        "the pod says both yes and no (linkerd.io/inject: \"enabled\", sidecar.istio.io/inject: \"false\")"
    );
    assert!(reasons[0].is_news());
}

#[test]
fn what_cannot_have_one_gets_none() {
    let skipped =
        |spec: Value| match decide(&namespace("shop", &["label weft.io/inject=enabled"]), &pod(&[], spec), "weft") {
            Verdict::Inject(_) => Vec::new(),
            Verdict::Skip(reasons) => reasons.iter().map(Reason::code).collect(),
        };
    let with = |container: Value| json!({"containers": [{"name": "web"}, container]});
    assert_eq!(skipped(json!({"containers": [], "hostNetwork": true})), ["host_network_enabled"]);
    assert_eq!(skipped(json!({"containers": [], "hostNetwork": false})), [""; 0]);
    assert_eq!(skipped(json!({"containers": [], "os": {"name": "windows"}})), ["unsupported_resource"]);
    assert_eq!(skipped(with(json!({"name": "istio-proxy"}))), ["sidecar_already_exists"]);
    for image in ["cr.l5d.io/linkerd/proxy:edge", "docker.io/istio/proxyv2@sha256:1", "r:5000/x/linkerd/proxy-init"] {
        assert_eq!(skipped(with(json!({"name": "x", "image": image}))), ["sidecar_already_exists"], "{image}");
    }
    for image in ["x/proxy:1", "mylinkerd/proxy", "linkerd/proxy-tools"] {
        assert_eq!(skipped(with(json!({"name": "x", "image": image}))), [""; 0], "{image}");
    }
    let injected = json!({"containers": [], "hostNetwork": true, "initContainers": [{"name": "weft-proxy"}]});
    assert_eq!(skipped(injected), ["already_injected", "host_network_enabled"]);
}

#[test]
fn the_clusters_own_pods_are_left_alone() {
    let on = &["label weft.io/inject=enabled"];
    let code = |name: &str, namespace_marks: &[&str], pod_marks: &[&str]| {
        let pod = pod(pod_marks, json!({"containers": []}));
        match decide(&namespace(name, namespace_marks), &pod, "weft") {
            Verdict::Inject(_) => IN,
            Verdict::Skip(reasons) => {
                assert!(!reasons[0].is_news());
                reasons[0].code()
            }
        }
    };
    for name in ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "weft"] {
        assert_eq!(code(name, on, on), "excluded_namespace");
        assert!(!is_meshed(&namespace(name, on), "weft"));
    }
    assert_eq!(code("shop", on, &["annotation kubernetes.io/config.mirror=x"]), "mirror_pod");
    assert_eq!(code("shop", on, &["label linkerd.io/control-plane-component=identity"]), "control_plane_component");
    let closed = &["label weft.io/inject=enabled", "label config.linkerd.io/admission-webhooks=disabled"];
    assert_eq!(code("shop", closed, on), "admission_webhooks_disabled");
    assert!(!is_meshed(&namespace("shop", closed), "weft"));
}

#[test]
fn a_namespace_is_meshed_as_it_asks() {
    for (written, expected) in [
        (&["annotation linkerd.io/inject=enabled"][..], true),
        (&["annotation linkerd.io/inject=ingress"], true),
        (&["label istio-injection=enabled"], true),
        (&["label istio.io/rev=x"], true),
        (&["label weft.io/inject=enabled"], true),
        (&["annotation linkerd.io/inject=disabled"], false),
        (&["annotation linkerd.io/inject=enabled", "label istio-injection=disabled"], false),
        (&[], false),
    ] {
        assert_eq!(is_meshed(&namespace("shop", written), "weft"), expected, "{written:?}");
    }
}
