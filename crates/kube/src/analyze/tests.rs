//! What is found, and that fine things are left alone.

use weft_resources::Severity;

use super::*;

/// Whether the cluster was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Seen,
    Unseen,
}

fn lines(files: &[(&str, &str)], cluster: Cluster) -> Vec<String> {
    let has_cluster = cluster == Cluster::Seen;
    let mut subject = Subject { has_cluster, control_namespace: "weft".to_owned(), ..Subject::default() };
    let mut messages = Vec::new();
    for (name, text) in files {
        let (mut objects, more) = read_file(name, text);
        if name.is_empty() {
            objects.iter_mut().for_each(|object| object.reference.clear());
        }
        subject.objects.extend(objects);
        messages.extend(more);
    }
    messages.extend(analyze(&subject));
    messages.iter().map(ToString::to_string).collect()
}

const FINE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}
";

#[test]
fn what_is_fine_is_left_alone() {
    assert_eq!(lines(&[("a.yaml", FINE)], Cluster::Unseen), [""; 0]);
    assert_eq!(lines(&[("a.yaml", FINE)], Cluster::Seen), [""; 0]);
}

#[test]
fn each_code_has_its_cause() {
    let changed = |from: &str, to: &str| {
        let text = FINE.replace(from, to);
        assert_ne!(text, FINE, "{from}");
        lines(&[("a.yaml", &text)], Cluster::Seen)
    };
    insta::assert_debug_snapshot!([
        changed("namespaces: [shop]", "namespaces: [shap]"),
        changed(", annotations: {linkerd.io/inject: enabled}", ""),
        changed("rules:", "rulez:"),
        changed(
            "{name: web, namespace: shop}\nspec: {template",
            "{name: web, namespace: shop, annotations: {linkerd.io/inject: enabled}}\nspec: {template"
        ),
        changed(
            "labels: {app: web}}, spec",
            "labels: {app: web}, annotations: {config.linkerd.io/proxy-colour: red}}, spec"
        ),
        changed(
            "labels: {app: web}}, spec",
            "labels: {app: web}, annotations: {config.linkerd.io/skip-inbound-ports: x}}, spec"
        ),
        changed("name: http}", "name: web}"),
        changed("annotations: {linkerd.io/inject: enabled}", "labels: {istio-injection: enabled, istio.io/rev: x}"),
        changed("matchLabels: {app: web}", "matchLabels: {app: wob}"),
        changed("containers: [{name: web}]", "containers: [{name: web, securityContext: {runAsUser: 2102}}]"),
        changed(
            "spec: {selector: {match",
            "status: {conditions: [{type: Enforced, status: 'False', reason: Waits, message: 1 of 2}]}\nspec: {selector: {match"
        ),
    ]);
}

#[test]
fn services_that_disagree_are_told() {
    let other = |port: &str| {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: also, namespace: shop}\n";
        let text = format!("{service}spec: {{selector: {{app: web}}, ports: [{port}]}}\n");
        lines(&[("a.yaml", FINE), ("b.yaml", &text)], Cluster::Unseen)
    };
    insta::assert_debug_snapshot!([
        other("{port: 81, targetPort: 80, name: http}"),
        other("{port: 80, name: tcp}"),
        other("{port: 81, name: http}"),
    ]);
}

#[test]
fn running_pods_without_a_proxy_are_told_and_files_win() {
    let pod = "kind: Pod\nmetadata: {name: web-1, namespace: shop}\nspec: {containers: [{name: web}]}\n";
    let cluster = format!("{FINE}---\n{pod}");
    let told = lines(&[("", &cluster)], Cluster::Seen);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Warning [IST0103] (Pod web-1.shop) "), "{told:?}");
    let file = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: disabled}}\n";
    assert_eq!(lines(&[("", &cluster), ("ns.yaml", file)], Cluster::Seen), [""; 0]);
}

#[test]
fn messages_can_be_suppressed_and_have_a_threshold() {
    let text = FINE.replace("matchLabels: {app: web}", "matchLabels: {app: wob}");
    let quiet = text.replace(
        "kind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop}",
        "kind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop, annotations: {galley.istio.io/analyze-suppress: 'IST0101, IST0127'}}",
    );
    assert_eq!(lines(&[("a.yaml", &quiet)], Cluster::Unseen), [""; 0]);
    let (objects, _) = read_file("a.yaml", &text);
    let messages = analyze(&Subject { objects, ..Subject::default() });
    assert!(is_beyond(&messages, Severity::Warning) && !is_beyond(&messages, Severity::Error));
}
