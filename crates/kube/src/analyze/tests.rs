//! What is found, and that fine things are left alone.

use serde_json::json;
use weft_resources::Severity;

use super::*;

/// What is found in files alone.
fn alone(files: &[(&str, &str)]) -> Vec<String> {
    lines(files, Subject::default())
}

/// What is found in files as if applied to a cluster; a file without name is what the cluster has.
fn applied(files: &[(&str, &str)]) -> Vec<String> {
    lines(files, Subject { has_cluster: true, ..Subject::default() })
}

fn lines(files: &[(&str, &str)], mut subject: Subject) -> Vec<String> {
    subject.control_namespace = "weft".to_owned();
    let mut messages = Vec::new();
    for (name, text) in files {
        let (mut objects, more) = read_file(name, text, "default");
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
    assert_eq!(alone(&[("a.yaml", FINE)]), [""; 0]);
    assert_eq!(applied(&[("a.yaml", FINE)]), [""; 0]);
}

#[test]
fn each_code_has_its_cause() {
    let changed = |from: &str, to: &str| {
        let text = FINE.replace(from, to);
        assert_ne!(text, FINE, "{from}");
        applied(&[("a.yaml", &text)])
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
        changed(
            "containers: [{name: web}]",
            "containers: [{name: web, securityContext: {runAsUser: 7}}], initContainers: [{name: weft-proxy, securityContext: {runAsUser: 7}}]"
        ),
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
        alone(&[("a.yaml", FINE), ("b.yaml", &text)])
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
    let told = applied(&[("", &cluster)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Warning [IST0103] (Pod web-1.shop) "), "{told:?}");
    let file = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: disabled}}\n";
    assert_eq!(applied(&[("", &cluster), ("ns.yaml", file)]), [""; 0]);
}

#[test]
fn messages_can_be_suppressed_and_have_a_threshold() {
    let text = FINE.replace("matchLabels: {app: web}", "matchLabels: {app: wob}");
    let quiet = text.replace(
        "kind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop}",
        "kind: AuthorizationPolicy\nmetadata: {name: web, namespace: shop, annotations: {galley.istio.io/analyze-suppress: 'IST0101, IST0127'}}",
    );
    assert_eq!(alone(&[("a.yaml", &quiet)]), [""; 0]);
    let (objects, _) = read_file("a.yaml", &text, "default");
    let messages = analyze(&Subject { objects, ..Subject::default() });
    assert!(is_beyond(&messages, Severity::Warning) && !is_beyond(&messages, Severity::Error));
}

#[test]
fn policies_that_nothing_enforces_are_told() {
    let pod = |name: &str, labels: &str, more: &str| {
        format!(
            "---\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}\nspec: {{containers: [{{name: web}}]{more}}}\n"
        )
    };
    let proxy = ", initContainers: [{name: weft-proxy}]";
    let fine = FINE.replace("annotations: {linkerd.io/inject: enabled}", "annotations: {linkerd.io/inject: disabled}");
    let told = |pods: &[String]| applied(&[("", &format!("{fine}{}", pods.concat()))]);
    assert_eq!(told(&[pod("a", "app: web", ""), pod("b", "app: web", proxy)]), [""; 0]);
    insta::assert_debug_snapshot!([
        told(&[pod("a", "app: web", ""), pod("b", "app: web", "")]),
        told(&[pod("a", "app: web, gateway.networking.k8s.io/gateway-name: door", "")]),
    ], @r#"
    [
        [
            "Warning [IST0167] (AuthorizationPolicy web.shop) none of the 2 pods that it selects has a proxy, so that nothing enforces it: ask for proxies, and restart what made the pods",
        ],
        [
            "Warning [IST0166] (AuthorizationPolicy web.shop) it selects the pods of the Gateway door by labels, and no proxy of the mesh stands before them: name the Gateway in targetRefs, for whoever runs it",
        ],
    ]
    "#);
}

#[test]
fn images_and_proxies_that_are_others_are_told() {
    let auto = FINE.replace("containers: [{name: web}]", "containers: [{name: web, image: auto}]");
    let pod = "---\nkind: Pod\nmetadata: {name: old, namespace: shop, labels: {app: web}, annotations: {weft.io/proxy-version: 0.0.1}}\nspec: {containers: [{name: web, image: auto}], initContainers: [{name: weft-proxy}]}\n";
    let subject = Subject { has_cluster: true, proxy_version: Some("0.1.0".to_owned()), ..Subject::default() };
    insta::assert_debug_snapshot!(lines(&[("", &format!("{auto}{pod}"))], subject), @r#"
    [
        "Error [IST0147] (Pod old.shop) the container web has the image auto, which Weft's injector doesn't replace: name an image",
        "Warning [IST0146] (Deployment web.shop) the container web has the image auto, which Weft's injector doesn't replace: name an image",
        "Warning [IST0158] (Namespace shop) the proxies of old are of another version than 0.1.0, which the injector gives: restart them",
    ]
    "#);
}

/// `form` for `from`: the policy denies, so a check in CI must fail.
#[test]
fn what_makes_a_policy_a_broken_one_is_an_error() {
    let told = alone(&[("a.yaml", &FINE.replace("{from:", "{form:"))]);
    assert!(
        told[0].starts_with("Error [IST0106] (AuthorizationPolicy web.shop a.yaml:19) spec.rules[0].form"),
        "{told:?}"
    );
}

#[test]
fn what_a_reader_says_can_be_suppressed_too() {
    let quiet = "metadata: {name: web, namespace: shop, annotations: {galley.istio.io/analyze-suppress: '*'}}\nspec: {selector: {match";
    let text = FINE.replace("metadata: {name: web, namespace: shop}\nspec: {selector: {match", quiet);
    assert_eq!(alone(&[("a.yaml", &text.replace("{from:", "{form:"))]), [""; 0]);
}

#[test]
fn a_policy_that_stands_in_files_twice_is_told() {
    let again = &FINE[FINE.find("apiVersion: security").unwrap()..];
    let told = applied(&[("", FINE), ("a.yaml", again), ("b.yaml", again)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("Error [IST0106] (AuthorizationPolicy web.shop b.yaml:1) it stands in a.yaml:1"),
        "{told:?}"
    );
}

/// As kubectl puts it there.
#[test]
fn what_names_no_namespace_stands_in_the_one_that_is_asked_for() {
    let (objects, told) = read_file("a.yaml", &FINE.replace(", namespace: shop}", "}"), "shop");
    assert_eq!((told, objects[1].namespace()), (Vec::new(), "shop"));
    let subject = Subject { objects, has_cluster: true, ..Subject::default() };
    assert_eq!(analyze(&subject), []);
    let broken = FINE.replace(", namespace: shop}", "}").replace("{from:", "{form:");
    let (objects, _) = read_file("a.yaml", &broken, "shop");
    let told = analyze(&Subject { objects, ..Subject::default() })[0].to_string();
    assert!(told.starts_with("Error [IST0106] (AuthorizationPolicy web.shop a.yaml:19)"), "{told}");
}

/// Files of patches are lists, and files of values are anything.
#[test]
fn what_is_no_object_is_passed_by() {
    for text in ["- {op: add}\n", "7", "text", "[]", "{items: 7}", "true"] {
        assert_eq!(alone(&[("a.yaml", text)]), [""; 0], "{text}");
    }
}

#[test]
fn a_policy_for_gateways_is_told_to_be_without_effect() {
    let told = applied(&[(
        "",
        &FINE.replace(
            "selector: {matchLabels: {app: web}}, rules",
            "targetRefs: [{kind: Service, group: '', name: web}], rules",
        ),
    )]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Warning [IST0167] (AuthorizationPolicy web.shop) it has targetRefs"), "{told:?}");
}

#[test]
fn the_meshs_own_trust_domain_is_no_foreign_one() {
    let text = FINE.replace("namespaces: [shop]", "principals: [mesh.example/ns/shop/sa/web]");
    let trust_domain: weft_mesh::TrustDomain = "mesh.example".parse().unwrap();
    assert_eq!(lines(&[("", &text)], Subject { has_cluster: true, trust_domain, ..Subject::default() }), [""; 0]);
    assert_eq!(applied(&[("", &text)]).len(), 1);
}

/// `kubectl get pods -A -o json | weft analyze -`.
#[test]
fn a_long_list_in_json_is_read() {
    let pod = json!({"kind": "Pod", "metadata": {"name": "p", "labels": (0..100).collect::<Vec<_>>()}});
    let list = json!({"kind": "List", "items": vec![pod; 3_000]}).to_string();
    let (objects, messages) = read_file("list.json", &list, "shop");
    assert_eq!((objects.len(), messages), (3_000, Vec::new()));
}

/// docs/kubernetes-debugging.md has a row for each code.
#[test]
fn each_code_is_documented() {
    let page = include_str!("../../../../docs/kubernetes-debugging.md");
    for code in Code::ALL {
        let (number, _, severity) = code.describe();
        let row = format!("| {number} {} |", format!("{severity:?}").to_lowercase());
        assert!(page.contains(&row), "{row}");
    }
}
