use super::*;

const PLAIN: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: web   # a comment
  namespace: \"shop\"
  labels:
    a: b
spec:
  selector:
    matchLabels:
      app: web
      version: v1
  action: DENY
  rules:
  - from: [
";

fn one(text: &str) -> Remains {
    let mut found = salvage(text);
    assert_eq!(found.len(), 1, "{text}");
    found.remove(0)
}

#[test]
fn what_stands_plainly_is_told() {
    let remains = one(PLAIN);
    assert_eq!(remains.kind, PolicyKind::AuthorizationPolicy);
    assert_eq!(remains.namespace.as_deref(), Some("shop"));
    assert_eq!(remains.name.as_deref(), Some("web"));
    assert_eq!(remains.action.as_deref(), Some("DENY"));
    let labels = [("app", "web"), ("version", "v1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(remains.selector, Some(Selector(labels.into())));
    assert_eq!(one(&PLAIN.replace('\n', "\r\n")), remains);
}

#[test]
fn what_is_not_plain_is_left_open() {
    let change = |from: &str, to: &str| one(&PLAIN.replace(from, to));
    for value in ["shop: x", "[shop", "{{ .Values.ns }}", "\"shop", "Shop", "*ns", "sh\top", "|"] {
        assert_eq!(change("\"shop\"", value).namespace, None, "{value}");
    }
    assert_eq!(change("  namespace: \"shop\"\n", "").namespace.as_deref(), Some("default"));
    assert_eq!(change("  namespace: \"shop\"\n", "  nam\u{fffd}space: shop\n").namespace, None);
    assert_eq!(change("  namespace: \"shop\"\n", "  - x\n").namespace, None);
    assert_eq!(change("  name: web   # a comment\n  namespace: \"shop\"\n", "").namespace, None);
    for (from, to) in [
        ("      app: web\n", "      app: \"web\n"),
        ("      app: web\n", "\t  app: web\n"),
        ("matchLabels:\n", "matchLabels: {\n"),
        ("  selector:\n", "  selector:\n  selector:\n"),
        ("      app: web\n", "      app:\n        x: web\n"),
    ] {
        assert_eq!(change(from, to).selector, None, "{to}");
    }
    assert_eq!(change("action: DENY", "action: [DENY").action, None);
}

#[test]
fn a_cut_line_is_not_believed() {
    let until = |end: &str| one(&PLAIN[..PLAIN.find(end).unwrap() + end.len()]);
    assert_eq!(until("namespace: \"shop\"").namespace, None);
    assert_eq!(until("namespace: \"shop\"\n").namespace.as_deref(), Some("shop"));
    assert_eq!(until("name: web").namespace, None);
    assert_eq!(until("name: web   # a comment\n").namespace, None);
    assert_eq!(until("app: web").selector, None);
    assert_eq!(until("version: v1").selector, None);
}

#[test]
fn texts_without_a_policy_have_no_remains() {
    for text in [
        "kind: ConfigMap\nmetadata: [\n",
        "kind: ConfigMap\ndata:\n  x: AuthorizationPolicy\n y\n",
        "# kind: AuthorizationPolicy\nfoo: [\n",
        "kind: MyAuthorizationPolicy2\n: :",
        "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nspec: [\n",
        "",
    ] {
        assert_eq!(salvage(text), [], "{text}");
    }
}

#[test]
fn every_policy_that_may_be_there_is_told() {
    let both = "kind: AuthorizationPolicy\nmetadata:\n  namespace: a\n--\nkind: PeerAuthentication\n";
    let found = salvage(both);
    assert_eq!(found.iter().map(|r| r.kind).collect::<Vec<_>>(), PolicyKind::ALL);
    assert!(found.iter().all(|r| r.namespace.is_none()));
    for text in [
        "{\"apiVersion\": \"security.istio.io/v1\", \"kind\": \"AuthorizationPolicy\", \"metadata\": {",
        "kind: List\nitems:\n- kind: AuthorizationPolicy\n  x: [\n",
        "kind: AuthorizationPolicyList\nitems: [\n",
        " kind: AuthorizationPolicy\nfoo: [",
        "kind: [AuthorizationPolicy\n",
        "k\0i\0n\0d\0:\0 \0A\0u\0t\0h\0o\0r\0i\0z\0a\0t\0i\0o\0n\0P\0o\0l\0i\0c\0y\0",
    ] {
        assert_eq!(one(text), Remains::unknown(PolicyKind::AuthorizationPolicy), "{text}");
    }
}
