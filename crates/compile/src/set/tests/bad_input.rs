//! Half-written and damaged files: what was closed stays closed.

use super::naive::{Call, admits};
use super::*;

const WORKLOADS: [(&str, &str); 4] =
    [("shop", "app=web"), ("shop", "app=api"), ("other", "app=web"), ("istio-system", "app=web")];

/// Calls of several callers, ports and paths, to each workload.
fn verdicts(set: &PolicySet) -> Vec<(String, bool)> {
    let mut verdicts = Vec::new();
    for (namespace, of) in WORKLOADS {
        let record = set.for_workload(namespace, &labels(of));
        for principal in [None, Some("cluster.local/ns/shop/sa/a"), Some("cluster.local/ns/x/sa/b")] {
            for port in [80, 9090] {
                for http in [None, Some(("GET", "/public")), Some(("POST", "/admin"))] {
                    let call = Call { principal, port, http };
                    verdicts.push((format!("{namespace} {of} {call:?}"), admits(&record, &call)));
                }
            }
        }
    }
    verdicts
}

/// Checks that `now` admits no call that was denied before.
fn check_no_wider(before: &[(String, bool)], now: &PolicySet, text: &str) {
    for ((call, before), (_, now)) in before.iter().zip(verdicts(now)) {
        assert!(*before || !now, "{call} was denied and is admitted now by:\n{text}");
    }
}

/// Another file of the folder, which admits a caller everywhere.
const BESIDE: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {namespace: istio-system, name: beside}
spec: {rules: [{from: [{source: {principals: [\"cluster.local/ns/shop/sa/a\"]}}]}]}
";

const WHOLE: [&str; 4] = [
    "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: deny
  namespace: shop
spec:
  selector:
    matchLabels:
      app: web
  action: DENY
  rules:
  - from:
    - source:
        principals: [\"*\"]
    to:
    - operation:
        ports: [\"80\"]
        paths: [\"/admin*\"]
",
    "{\"apiVersion\": \"security.istio.io/v1\", \"kind\": \"AuthorizationPolicy\",
 \"metadata\": {\"name\": \"allow\", \"namespace\": \"shop\"},
 \"spec\": {\"rules\": [{\"from\": [{\"source\": {\"namespaces\": [\"x\"]}}],
   \"to\": [{\"operation\": {\"methods\": [\"GET\"]}}]}]}}
",
    "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
",
    "apiVersion: v1
kind: List
items:
- apiVersion: security.istio.io/v1
  kind: PeerAuthentication
  metadata: {name: default, namespace: shop}
  spec: {mtls: {mode: STRICT}}
",
];

/// Cuts each file at every byte after its first `kind` line. A half that reads as a whole file is
/// one, and means what it says; any other half closes at least what the file closed.
#[test]
fn half_a_file_opens_nothing() {
    for whole in WHOLE {
        let before = verdicts(&set(&[("beside", BESIDE), ("f", whole)]).0);
        assert!(before.iter().any(|(_, admitted)| *admitted) && before.iter().any(|(_, admitted)| !admitted));
        let kind = whole.find("AuthorizationPolicy").or(whole.find("PeerAuthentication")).unwrap();
        let begin = kind + whole[kind..].find('\n').unwrap();
        let mut judged = 0;
        for end in begin..whole.len() {
            let half = &whole[..end];
            let (now, problems) = set(&[("beside", BESIDE), ("f", half)]);
            if counts(&problems)[0] > 0 {
                judged += 1;
                check_no_wider(&before, &now, half);
            }
        }
        assert!(judged * 3 > whole.len() - begin, "{judged} of {} in {whole}", whole.len() - begin);
    }
}

/// Replaces each value by one of another type.
#[test]
fn wrong_types_open_nothing() {
    let before = verdicts(&set(&[("beside", BESIDE), ("f", WHOLE[0])]).0);
    let values = ["deny", "shop", "web", "DENY", "[\"*\"]", "[\"80\"]", "[\"/admin*\"]", "security.istio.io/v1"];
    let wrong = ["5", "true", "{}", "[[]]", "[5]", "[{}]", "[", "&x [*x]", "}", "\"", "\u{0}"];
    for value in values {
        for wrong in wrong {
            let text = WHOLE[0].replacen(&format!(" {value}\n"), &format!(" {wrong}\n"), 1);
            assert_ne!(text, WHOLE[0], "{value}");
            let (now, problems) = set(&[("beside", BESIDE), ("f", &text)]);
            assert!(counts(&problems)[0] > 0, "{value} {wrong}: {problems:?}");
            check_no_wider(&before, &now, &text);
        }
    }
}

/// Puts a byte that is no UTF-8 in place of each byte.
#[test]
fn invalid_utf8_opens_nothing() {
    let before = verdicts(&set(&[("beside", BESIDE), ("f", WHOLE[0])]).0);
    let kind = WHOLE[0].find("metadata").unwrap();
    for at in kind..WHOLE[0].len() {
        let mut bytes = WHOLE[0].as_bytes().to_vec();
        bytes[at] = 0xff;
        let mut resources = weft_resources::parse("beside", BESIDE.as_bytes()).resources;
        resources.extend(weft_resources::parse("f", &bytes).resources);
        let now = PolicySet::new(&Settings::default(), &resources).0;
        check_no_wider(&before, &now, &String::from_utf8_lossy(&bytes));
    }
}

/// Misspells each key in turn.
#[test]
fn misspelt_keys_open_nothing() {
    let before = verdicts(&set(&[("beside", BESIDE), ("f", WHOLE[0])]).0);
    for key in [
        "apiVersion",
        "kind",
        "action",
        "metadata",
        "name",
        "namespace",
        "spec",
        "selector",
        "matchLabels",
        "rules",
        "from",
        "source",
        "principals",
        "to",
        "operation",
        "ports",
        "paths",
    ] {
        let misspelt = format!("{}x{}:", &key[..1], &key[1..]);
        let text = WHOLE[0].replacen(&format!("{key}:"), &misspelt, 1);
        let (now, problems) = set(&[("beside", BESIDE), ("f", &text)]);
        assert!(counts(&problems)[0] + counts(&problems)[1] > 0, "{key}");
        check_no_wider(&before, &now, &text);
    }
}

#[test]
fn broken_documents_close_what_they_may_have_closed() {
    let cases = [
        ("kind: AuthorizationPolicy\nmetadata:\n  namespace: shop\nspec:\n  x: [\n", &["shop"][..]),
        ("kind: AuthorizationPolicy\nmetadata: [\n", &["shop", "other", "istio-system"]),
        ("kind: ConfigMap\nmetadata: [\n", &[]),
    ];
    for (text, closed) in cases {
        let (now, problems) = set(&[("beside", BESIDE), ("f", text)]);
        assert_eq!(counts(&problems)[0], 1, "{text}");
        for (call, admitted) in verdicts(&now) {
            let by_us = closed.iter().any(|namespace| call.starts_with(namespace));
            assert!(!by_us || !admitted, "{text}: {call}");
            assert!(by_us || admitted == call.contains("sa/a"), "{text}: {call}");
        }
    }
}
