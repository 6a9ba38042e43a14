use super::*;
use crate::{AuthorizationPolicy, PeerAuthentication, PolicyAction};

mod bad_input;
mod fields;

/// A policy with this `spec`, its lines at the depth of `spec`'s fields. The spec begins in line 6.
fn policy(spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nspec:\n{spec}")
}

fn peer(spec: &str) -> String {
    policy(spec).replace("AuthorizationPolicy", "PeerAuthentication")
}

/// The problems of a file named `f`, a line each.
fn problems(text: &str) -> Vec<String> {
    let lines: Vec<String> = parse("f", text.as_bytes()).problems.iter().map(Problem::to_string).collect();
    assert!(lines.iter().all(|line| line.lines().count() == 1), "{lines:?}");
    lines
}

/// The only resource of a text, which must be an `AuthorizationPolicy`.
fn authorization(text: &str) -> AuthorizationPolicy {
    match parse("f", text.as_bytes()).resources.as_slice() {
        [Resource::AuthorizationPolicy(policy)] => policy.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

fn peer_authentication(text: &str) -> PeerAuthentication {
    match parse("f", text.as_bytes()).resources.as_slice() {
        [Resource::PeerAuthentication(policy)] => policy.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

const WHOLE: &str = "\
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: checkout
  namespace: shop
  creationTimestamp: \"2026-01-31T12:00:00Z\"
  annotations:
    istio.io/dry-run: \"T\"
spec:
  selector:
    matchLabels: {app: checkout}
  action: DENY
  rules:
  - from:
    - source:
        principals: [\"cluster.local/ns/web/sa/web\"]
        notNamespaces: [\"x*\"]
        ipBlocks: [\"10.0.0.0/8\"]
        remoteIpBlocks: [\"::1\"]
        requestPrincipals: [\"*\"]
        trustDomains: [\"td\"]
    - source:
        serviceAccounts: [\"web/front\", \"own\"]
    to:
    - operation:
        hosts: [\"a.com\"]
        ports: [\"80\", \"0\"]
        notMethods: [\"GET\"]
        paths: [\"/a/{**}\", \"/b*\"]
    when:
    - key: request.headers[X-Team]
      values: [\"a\"]
      notValues: [\"b\"]
    - key: source.ip
      notValues: [\"10.1.1.1\"]
    - key: request.auth.claims[a][b]
      values: [\"c\"]
  - {}
";

#[test]
fn a_whole_policy_is_read() {
    assert_eq!(problems(WHOLE), [""; 0]);
    let policy = authorization(WHOLE);
    assert_eq!(policy.meta.namespace.as_deref(), Some("shop"));
    assert_eq!(policy.meta.created.as_deref(), Some("2026-01-31T12:00:00.000000000Z"));
    assert_eq!((policy.meta.line, policy.action, policy.dry_run), (1, Some(PolicyAction::Deny), true));
    assert_eq!(policy.defect, None);
    let [rule, empty] = policy.rules.as_slice() else { panic!() };
    assert_eq!((rule.line, rule.from.len(), rule.to.len(), rule.when.len()), (14, 2, 1, 3));
    assert_eq!(*empty, crate::Rule { line: 38, ..crate::Rule::default() });
    let account = &rule.from[1].service_accounts.any[1];
    assert_eq!((account.namespace.as_str(), account.name.as_str()), ("shop", "own"));
    assert_eq!(rule.to[0].ports.any, [80, 0]);
    assert!(matches!(&rule.when[0], crate::Condition::Header(name, _) if name == "x-team"));
}

#[test]
fn json_reads_as_yaml_does() {
    let text = r#"{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"}, "spec": {"mtls": {"mode": "STRICT"}}}"#;
    assert_eq!(problems(text), [""; 0]);
    assert_eq!(peer_authentication(text).mode, Some(weft_mesh::record::MtlsMode::Strict));
}

#[test]
fn documents_and_lists_hold_many() {
    let item = "- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata: {name: a}\n  spec: {}\n";
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{item}{}", item.replace("name: a", "name: b"));
    let typed =
        "kind: PeerAuthenticationList\napiVersion: security.istio.io/v1\nitems:\n- metadata: {name: c}\n  spec: {}\n";
    let text = format!("%YAML 1.2\n# nothing\n---\n---\n{list}...\n# x\n%YAML 1.2\n---\n{typed}...\n");
    let parsed = parse("f", text.as_bytes());
    assert_eq!(parsed.problems, []);
    let names: Vec<_> = parsed.resources.iter().map(|r| r.reference().to_string()).collect();
    let expected = ["AuthorizationPolicy default/a", "AuthorizationPolicy default/b", "PeerAuthentication default/c"];
    assert_eq!(names, expected);
}

#[test]
fn other_kinds_are_passed_by() {
    for (text, expected) in [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
            "f:1: info: Service is not used by Weft yet (Service default/a)",
        ),
        (
            "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n",
            "f:1: info: AuthorizationPolicy is not used by Weft yet (AuthorizationPolicy b/a)",
        ),
        (
            "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: a}\n",
            "f:1: warning: expected a kind of apps (the nearest is Deployment), found \"Deploymnet\" (Deploymnet default/a)",
        ),
    ] {
        assert_eq!(problems(text), [expected]);
        assert_eq!(parse("f", text.as_bytes()).resources, []);
    }
}

#[test]
fn an_object_is_told_by_its_own_name() {
    let object = r#"{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "status": {},
        "metadata": {"name": "a", "namespace": "shop"}, "spec": {"action": "ALOW", "rules": [{"form": []}]}}"#;
    let parsed = parse_object("AuthorizationPolicy shop/a", object);
    let lines: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
    let action = "AuthorizationPolicy shop/a: spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found \"ALOW\"";
    assert!(lines.iter().any(|line| line == action), "{lines:?}");
    let resource = &parsed.resources[0];
    assert_eq!((resource.meta().line, resource.meta().file.as_str()), (0, "AuthorizationPolicy shop/a"));
    assert!(resource.defect().is_some());
    let broken = parse_object("PeerAuthentication shop/b", r#"{"kind": "PeerAuthentication", "a": "#);
    assert_eq!(broken.resources.len(), 1);
    assert!(broken.problems[0].to_string().starts_with("PeerAuthentication shop/b: expected "));
}
