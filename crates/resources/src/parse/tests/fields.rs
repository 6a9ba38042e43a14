//! Each field's mistakes, with the message that tells them.

use super::*;

/// The spec's only problem, without the file's name and the resource.
fn only(text: &str) -> String {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    found[0].trim_start_matches("f:").trim_end_matches(" (AuthorizationPolicy default/p)").to_owned()
}

#[test]
fn mistakes_in_rules_name_their_field() {
    for (rule, expected) in [
        ("- 5", "7: spec.rules[0]: expected a mapping, found the number 5"),
        ("-", "7: spec.rules[0]: expected a mapping, found nothing"),
        ("- from:", "7: spec.rules[0].from: expected a list, found nothing"),
        ("- from: []", "7: spec.rules[0].from: expected at least one item, found an empty list"),
        ("- to: {}", "7: spec.rules[0].to: expected a list (each item begins with '-'), found a mapping"),
        ("- from: [{}]", "7: spec.rules[0].from[0].source: expected a mapping, found none"),
        (
            "- from: [{source: {}}]",
            "7: spec.rules[0].from[0].source: expected at least one field with values, found none",
        ),
        (
            "- from: [{source: {principals: [], notPrincipals: []}}]",
            "7: spec.rules[0].from[0].source: expected at least one field with values, found none",
        ),
        (
            "- from: [{source: {prinicpals: [\"a\"], ipBlocks: [\"1.1.1.1\"]}}]",
            "7: warning: spec.rules[0].from[0].source.prinicpals: expected a known field (the nearest is principals), found \"prinicpals\"",
        ),
        (
            "- from: [{source: {principals: a}}]",
            "7: spec.rules[0].from[0].source.principals: expected a list such as [\"a\"], found \"a\"",
        ),
        (
            "- from: [{source: {principals: [true]}}]",
            "7: spec.rules[0].from[0].source.principals[0]: expected a text (in quotes), found the boolean true",
        ),
        (
            "- from: [{source: {principals: [\"*\", \"\"]}}]",
            "7: spec.rules[0].from[0].source.principals[1]: expected a text that is not empty, found \"\"",
        ),
        (
            "- from: [{source: {ipBlocks: [\"10.0.0.0/40\"]}}]",
            "7: spec.rules[0].from[0].source.ipBlocks[0]: expected an IP address or a block such as 10.0.0.0/8, found \"10.0.0.0/40\"",
        ),
        (
            "- from: [{source: {trustDomains: [\"a/b\"]}}]",
            "7: spec.rules[0].from[0].source.trustDomains[0]: expected a trust domain without '/', found \"a/b\"",
        ),
        (
            "- from: [{source: {serviceAccounts: [\"a\"], namespaces: [\"b\"]}}]",
            "7: spec.rules[0].from[0].source: expected either service accounts or namespaces, found both",
        ),
        (
            "- from: [{source: {serviceAccounts: [\"a/*\"]}}]",
            "7: spec.rules[0].from[0].source.serviceAccounts[0]: expected NAMESPACE/ACCOUNT or ACCOUNT without '*', at most 320 characters, found \"a/*\"",
        ),
        (
            "- to: [{operation: {}}]",
            "7: spec.rules[0].to[0].operation: expected at least one field with values, found none",
        ),
        (
            "- to: [{operation: {ports: [80]}}]",
            "7: spec.rules[0].to[0].operation.ports[0]: expected a text (in quotes), found the number 80",
        ),
        (
            "- to: [{operation: {ports: [\"65536\"]}}]",
            "7: spec.rules[0].to[0].operation.ports[0]: expected a port of 0 to 65535, found \"65536\"",
        ),
        (
            "- to: [{operation: {paths: [\"/{**}/{*}\"]}}]",
            "7: spec.rules[0].to[0].operation.paths[0]: expected {**} to be the last operator, found another after it in \"/{**}/{*}\"",
        ),
        ("- when: [{values: [\"a\"]}]", "7: spec.rules[0].when[0].key: expected an attribute, found none"),
        (
            "- when: [{key: source.ip}]",
            "7: spec.rules[0].when[0]: expected values or notValues with at least one value, found none",
        ),
        (
            "- when: [{key: source.ip, values: [], notValues: []}]",
            "7: spec.rules[0].when[0]: expected values or notValues with at least one value, found none",
        ),
        (
            "- when: [{key: source.ip, values: [\"x\"]}]",
            "7: spec.rules[0].when[0].values[0]: expected an IP address or a block such as 10.0.0.0/8, found \"x\"",
        ),
        (
            "- when: [{key: destination.port, values: [\"http\"]}]",
            "7: spec.rules[0].when[0].values[0]: expected a port of 0 to 65535, found \"http\"",
        ),
    ] {
        let text = policy(&format!("action: DENY\nrules:\n{rule}\n")).replace("spec:\n  action: DENY\n", "spec:\n");
        let text = text.replace("spec:\n", "spec: # ALLOW\n");
        assert_eq!(only(&text), expected, "{rule}");
        let policy = authorization(&text);
        assert_eq!((policy.rules.len(), policy.defect), (1, None), "{rule}");
        assert!(policy.rules[0].defect.is_some(), "{rule}");
    }
}

#[test]
fn attributes_that_are_none_are_refused() {
    for key in [
        "destination.labels[a]",
        "destination.namespace",
        "destination.name",
        "destination.user",
        "request.headers",
        "request.headers[]",
        "request.auth.claims",
        "source.IP",
        "",
        "request.auth.foo",
    ] {
        let text = policy(&format!("rules:\n- when:\n  - key: {key:?}\n    values: [\"a\"]"));
        assert!(only(&text).contains("spec.rules[0].when[0].key: expected"), "{key}");
        assert!(authorization(&text).rules[0].defect.is_some(), "{key}");
    }
    for key in ["experimental.envoy.filters.a[b]", "request.auth.claims[a][b]", "request.headers[:method]"] {
        let text = policy(&format!("rules:\n- when:\n  - key: {key:?}\n    values: [\"a\"]"));
        assert_eq!(problems(&text), [""; 0], "{key}");
    }
}

#[test]
fn a_principal_with_a_scheme_is_told() {
    let text = policy("rules: [{from: [{source: {principals: [\"spiffe://a/ns/b/sa/c\"]}}]}]");
    let expected = "expected \"a/ns/b/sa/c\" without spiffe://, found it with: it matches nobody";
    assert!(only(&text).ends_with(expected), "{}", only(&text));
    assert_eq!(authorization(&text).rules[0].defect, None);
}

#[test]
fn a_list_with_a_bad_value_restricts_nothing() {
    let text =
        policy("action: DENY\nrules:\n- to:\n  - operation:\n      methods: [\"GET\"]\n      ports: [\"80\", \"x\"]");
    let rule = &authorization(&text).rules[0];
    assert_eq!((rule.to[0].methods.any.len(), rule.to[0].ports.is_empty()), (1, true));
}

#[test]
fn mistakes_around_rules_are_the_policys() {
    for (spec, expected) in [
        ("action: allow", "6: spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found \"allow\""),
        ("action: DENY", "6: spec.rules: expected at least one rule with this action, found none"),
        ("action: DENY\nrules: []", "7: spec.rules: expected at least one rule with this action, found none"),
        ("action: CUSTOM\nrules: [{}]", "6: spec.action: expected a provider beside CUSTOM, found none"),
        (
            "action: CUSTOM\nprovider: {name: x}\nrules: [{from: [{source: {namespaces: [\"a\"]}}]}]",
            "8: spec.rules[0]: expected no identities and tokens with action CUSTOM, found some",
        ),
        ("rules: {}", "6: spec.rules: expected a list (each item begins with '-'), found a mapping"),
        ("rules:", "6: spec.rules: expected a list, found nothing"),
        ("provider: {name: x}", "6: spec.provider: expected a provider only with action CUSTOM, found another action"),
        ("selector:", "6: spec.selector: expected a mapping, found nothing"),
        (
            "selector: {matchLabels: {a: 1}}",
            "6: spec.selector.matchLabels.a: expected a text (in quotes), found the number 1",
        ),
        (
            "selector: {matchLabels: {a: \"b*\"}}",
            "6: spec.selector.matchLabels.a: expected a label without '*', with a key, found \"a: b*\"",
        ),
        (
            "selector: {matchExpressions: []}",
            "6: warning: spec.selector.matchExpressions: expected a known field (the nearest is matchLabels), found \"matchExpressions\"",
        ),
        (
            "selectr: {}",
            "6: warning: spec.selectr: expected a known field (the nearest is selector), found \"selectr\"",
        ),
        (
            "selector: {matchLabels: {a: b}}\ntargetRefs: [{kind: Service, name: x}]",
            "6: spec.selector: expected either selector or targetRefs, found both",
        ),
        (
            "targetRefs: [{kind: Pod, name: x}]",
            "6: spec.targetRefs[0]: expected a Gateway or GatewayClass of gateway.networking.k8s.io, a Service or a ServiceEntry, found \"/Pod\"",
        ),
        ("targetRefs: [{kind: Service}]", "6: spec.targetRefs[0].name: expected a name, found none"),
        (
            "targetRefs: [{kind: Service, name: x, namespace: other}]",
            "6: spec.targetRefs[0].namespace: expected no namespace but the policy's own, found another",
        ),
    ] {
        let text = policy(spec);
        assert_eq!(only(&text), expected, "{spec}");
        let policy = authorization(&text);
        assert!(policy.defect.is_some(), "{spec}");
        assert!(policy.defect.unwrap().starts_with("f:"), "{spec}");
    }
    assert_eq!(authorization(&policy("selector:")).selector, None);
    assert_eq!(authorization(&policy("action: allow")).action, None);
    assert!(only(&policy("selector: {}")).contains("6: warning: spec.selector: expected labels, found none"));
    assert_eq!(authorization(&policy("selector: {}")).defect, None);
    let many = vec!["{kind: Service, name: x}"; 17].join(", ");
    assert!(only(&policy(&format!("targetRefs: [{many}]"))).contains("expected at most 16 references, found 17"));
    let many = vec!["{}"; 513].join(", ");
    assert!(only(&policy(&format!("rules: [{many}]"))).contains("expected at most 512 items, found 513"));
    let many = vec!["\"a\""; 17].join(", ");
    let text = policy(&format!("rules: [{{from: [{{source: {{serviceAccounts: [{many}]}}}}]}}]"));
    assert!(only(&text).contains("expected at most 16 service accounts, found 17"));
    let named = |bytes: usize| {
        let account = format!("ns/{}", "a".repeat(bytes - 3));
        policy(&format!("rules: [{{from: [{{source: {{serviceAccounts: [{account}]}}}}]}}]"))
    };
    assert!(only(&named(321)).contains("expected NAMESPACE/ACCOUNT or ACCOUNT without '*', at most 320 characters"));
    assert_eq!(authorization(&named(320)).defect, None);
}

#[test]
fn metadata_is_checked() {
    let change = |from: &str, to: &str| policy("rules: [{}]").replace(from, to);
    for (text, expected, namespace) in [
        (change("name: p", "name: P_1"), "metadata.name: expected a name of a-z", Some("default")),
        (
            change("name: p", "name: 5"),
            "metadata.name: expected a text (in quotes), found the number 5",
            Some("default"),
        ),
        (
            change("  name: p\n", "  labels: {}\n"),
            "metadata.name: expected a name, found no such field",
            Some("default"),
        ),
        (change("name: p", "name: p\n  namespace: Prod"), "metadata.namespace: expected a namespace of a-z", None),
        (change("name: p", "name: p\n  namespce: prod"), "the nearest is namespace), found \"namespce\"", None),
        (change("metadata:\n  name: p\n", ""), "metadata: expected a mapping with a name, found no such field", None),
        (change("metadata:\n  name: p\n", "metadata: x\n"), "metadata: expected a mapping, found \"x\"", None),
    ] {
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
        let policy = authorization(&text);
        assert!(policy.defect.is_some(), "{expected}");
        assert_eq!(policy.meta.namespace.as_deref(), namespace, "{expected}");
    }
    for fine in [
        "name: p\n  annotations:",
        "name: p\n  creationTimestamp: null",
        "name: p\n  namespace:",
        "name: p\n  namespace: \"\"",
    ] {
        let text = change("name: p", fine);
        assert_eq!(problems(&text), [""; 0], "{fine}");
        assert_eq!(authorization(&text).meta.namespace.as_deref(), Some("default"));
    }
    for harmless in ["lables: {}", "creationTimestamp: yesterday", "annotations: {a: 1}"] {
        let text = change("name: p", &format!("name: p\n  {harmless}"));
        assert_eq!((problems(&text).len(), authorization(&text).defect), (1, None), "{harmless}");
    }
}

#[test]
fn dry_run_is_read_as_go_reads_booleans() {
    let with = |value: &str| {
        policy("rules: [{}]").replace("name: p", &format!("name: p\n  annotations:\n    istio.io/dry-run: {value}"))
    };
    for value in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(authorization(&with(&format!("{value:?}"))).dry_run, "{value}");
    }
    for value in ["0", "f", "F", "FALSE", "false", "False"] {
        let text = with(&format!("{value:?}"));
        assert_eq!((authorization(&text).dry_run, problems(&text).len()), (false, 0), "{value}");
    }
    for value in ["\"yes\"", "\"\"", "\"tRUE\"", "true"] {
        let text = with(value);
        let policy = authorization(&text);
        assert_eq!((policy.dry_run, policy.defect, problems(&text).len()), (false, None, 1), "{value}");
    }
}

#[test]
fn peer_authentication_is_checked() {
    use weft_mesh::record::MtlsMode::{Disable, Strict};
    let spec = "selector: {matchLabels: {a: b}}\nmtls: {mode: STRICT}\nportLevelMtls:\n  8080: {mode: DISABLE}\n  \"9\": {mode: UNSET}";
    let read = peer_authentication(&peer(spec));
    assert_eq!((read.mode, read.ports, read.defect), (Some(Strict), [(8080, Disable)].into(), None));
    for spec in ["{}", "mtls: {}", "mtls: {mode: UNSET}"] {
        let text = peer(spec);
        assert_eq!((problems(&text).len(), peer_authentication(&text).mode), (0, None), "{spec}");
    }
    for (spec, expected) in [
        ("mtls: {mode: strict}", "6: spec.mtls.mode: expected UNSET, DISABLE, PERMISSIVE or STRICT, found \"strict\""),
        ("mtls:", "6: spec.mtls: expected a mapping such as {mode: STRICT}, found nothing"),
        ("mtls: {mode:}", "6: spec.mtls.mode: expected UNSET, DISABLE, PERMISSIVE or STRICT, found nothing"),
        (
            "mtls: {mdoe: STRICT}",
            "6: warning: spec.mtls.mdoe: expected a known field (the nearest is mode), found \"mdoe\"",
        ),
        (
            "portLevelMtls: {80: {mode: STRICT}}",
            "6: spec.portLevelMtls: expected a selector with labels beside it, found none",
        ),
        (
            "selector: {matchLabels: {a: b}}\nportLevelMtls: {0: {mode: STRICT}}",
            "7: spec.portLevelMtls.0: expected a port number of 1 to 65535, found \"0\"",
        ),
    ] {
        let text = peer(spec);
        let found = only(&text);
        assert_eq!(found.trim_end_matches(" (PeerAuthentication default/p)"), expected);
        assert!(peer_authentication(&text).defect.is_some(), "{spec}");
    }
}
