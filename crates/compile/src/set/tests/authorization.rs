//! Authorization policies (istio-semantics, B1, B2, B4, B5).

use weft_mesh::record::{Condition, Pattern, Policy};

use super::*;

/// The names of the policies that govern a workload.
fn selected(text: &str, namespace: &str, of: &str) -> Vec<String> {
    let (set, _) = set(&[("f", text)]);
    set.for_workload(namespace, &labels(of)).1.into_iter().map(|policy| policy.origin.name).collect()
}

/// The only policy of a text, for a workload of `shop` with `app=web`.
fn only(text: &str) -> (Policy, Vec<Problem>) {
    let (set, problems) = set(&[("f", text)]);
    let mut policies = set.for_workload("shop", &labels("app=web")).1;
    assert_eq!(policies.len(), 1, "{text}: {problems:?}");
    (policies.remove(0), problems)
}

#[test]
fn policies_are_selected_by_namespace_and_labels() {
    let text = [
        authorization("shop/all", "{}"),
        authorization("shop/empty", "{selector: {matchLabels: {}}}"),
        authorization("shop/web", "{selector: {matchLabels: {app: web}}}"),
        authorization("shop/web-v1", "{selector: {matchLabels: {app: web, version: v1}}}"),
        authorization("istio-system/root", "{}"),
        authorization("istio-system/root-web", "{selector: {matchLabels: {app: web}}}"),
        authorization("shop/target", "{targetRefs: [{kind: Service, name: web}], rules: [{}]}"),
        authorization("default/named", "{}").replace("namespace: default, ", ""),
    ]
    .concat();
    for (namespace, of, expected) in [
        ("shop", "app=web", &["all", "empty", "web", "root", "root-web"][..]),
        ("shop", "app=web,version=v1", &["all", "empty", "web", "web-v1", "root", "root-web"]),
        ("shop", "app=api,version=v1", &["all", "empty", "root"]),
        ("other", "app=web", &["root", "root-web"]),
        ("istio-system", "app=web", &["root", "root-web"]),
        ("default", "", &["root", "named"]),
    ] {
        assert_eq!(selected(&text, namespace, of), expected, "{namespace} {of}");
    }
    // B1.5: one with targetRefs is told to be without effect.
    let (_, problems) = set(&[("f", &text)]);
    let told: Vec<_> = problems.iter().filter(|p| p.severity == Severity::Info).collect();
    assert!(told.len() == 1 && told[0].to_string().contains("shop/target"), "{told:?}");
}

#[test]
fn actions_and_rules_are_kept() {
    for (spec, action, rules) in [
        ("{}", Action::Allow, 0),
        ("{rules: []}", Action::Allow, 0),
        ("{rules: [{}]}", Action::Allow, 1),
        ("{action: DENY, rules: [{}]}", Action::Deny, 1),
        ("{action: AUDIT, rules: [{}, {}]}", Action::Audit, 2),
    ] {
        let (policy, problems) = only(&authorization("shop/p", spec));
        assert_eq!((policy.action, policy.rules.len(), policy.defect), (action, rules, None), "{spec}");
        assert_eq!(problems, [], "{spec}");
        assert_eq!((policy.origin.file.as_str(), policy.origin.line), ("f", 2));
    }
    let (policy, _) = only(&authorization("shop/p", "\n  rules:\n  - {}\n  - to: [{operation: {ports: [\"1\"]}}]"));
    assert_eq!(policy.rules.iter().map(|r| (r.index, r.line)).collect::<Vec<_>>(), [(0, 7), (1, 8)]);
}

#[test]
fn dry_run_is_kept() {
    let with = |value: &str| {
        authorization("shop/p", "{rules: [{}]}")
            .replace("name:", &format!("annotations: {{istio.io/dry-run: {value}}}, name:"))
    };
    for (value, expected) in [
        ("\"true\"", Enforcement::DryRun),
        ("\"0\"", Enforcement::Enforced),
        ("\"maybe\"", Enforcement::Enforced),
        ("true", Enforcement::Enforced),
    ] {
        let (policy, _) = only(&with(value));
        assert_eq!((policy.enforcement, policy.rules.len(), policy.defect), (expected, 1, None), "{value}");
    }
}

/// Action, the indexes of rules, and whether it is a defect policy.
fn outcome(spec: &str) -> (Action, Vec<u32>, bool) {
    let (policy, problems) = only(&authorization("shop/p", spec));
    if let Some(defect) = &policy.defect {
        assert!(problems.iter().any(|problem| problem.to_string() == defect.0), "{spec}: {defect:?}");
        assert!(problems.iter().any(|problem| problem.message.contains("until then")), "{spec}");
    }
    (policy.action, policy.rules.iter().map(|rule| rule.index).collect(), policy.defect.is_some())
}

#[test]
fn what_is_not_understood_fails_closed() {
    let good = "{to: [{operation: {ports: [\"80\"]}}]}";
    let bad = "{to: [{operation: {ports: [80]}}]}";
    let token = "{from: [{source: {requestPrincipals: [\"*\"]}}]}";
    let claim = "{when: [{key: \"request.auth.claims[a]\", values: [\"x\"]}]}";
    let filter = "{when: [{key: \"experimental.envoy.filters.a[b]\", values: [\"x\"]}]}";
    let star = "{from: [{source: {namespaces: [\"a*b\"]}}]}";
    let provider = "provider: {name: x}";
    for (spec, expected) in [
        // A broken ALLOW allows less; a broken DENY denies more; a broken AUDIT does nothing.
        (format!("{{rules: [{good}, {bad}]}}"), (Action::Allow, vec![0], true)),
        (format!("{{{provider}, rules: [{good}]}}"), (Action::Allow, vec![], true)),
        (format!("{{action: DENY, rules: [{good}, {bad}]}}"), (Action::Deny, vec![0, 1], true)),
        (format!("{{action: DENY, {provider}, rules: [{good}, {good}]}}"), (Action::Deny, vec![0, 1], true)),
        // An action that may have been meant, or cut off, isn't taken for ALLOW.
        (format!("{{acton: DENY, rules: [{good}, {good}]}}"), (Action::Deny, vec![0], true)),
        ("{selector: 5}".to_owned(), (Action::Deny, vec![0], true)),
        ("{action: DENY}".to_owned(), (Action::Deny, vec![0], true)),
        ("{action: DENY, rules: 5}".to_owned(), (Action::Deny, vec![0], true)),
        (format!("{{action: DNEY, rules: [{good}, {good}]}}"), (Action::Deny, vec![0], true)),
        (format!("{{action: AUDIT, rules: [{good}, {bad}]}}"), (Action::Audit, vec![0], true)),
        // CUSTOM and tokens aren't supported yet.
        (format!("{{action: CUSTOM, {provider}, rules: [{good}]}}"), (Action::Deny, vec![0], true)),
        (format!("{{action: CUSTOM, {provider}}}"), (Action::Deny, vec![0], true)),
        (format!("{{rules: [{token}, {good}]}}"), (Action::Allow, vec![1], true)),
        (format!("{{action: DENY, rules: [{claim}]}}"), (Action::Deny, vec![0], true)),
        (format!("{{rules: [{filter}]}}"), (Action::Allow, vec![], true)),
        (format!("{{rules: [{star}]}}"), (Action::Allow, vec![], true)),
    ] {
        assert_eq!(outcome(&spec), expected, "{spec}");
    }
    let audit = authorization("shop/p", &format!("{{action: AUDIT, {provider}, rules: [{{}}]}}"));
    let (set, problems) = set(&[("f", &audit)]);
    assert!(set.for_workload("shop", &labels("")).1.is_empty() && counts(&problems)[0] == 1);
}

#[test]
fn an_unknown_field_never_widens_an_allow() {
    for spec in [
        "{rules: [{form: [{source: {principals: [\"a\"]}}]}]}",
        "{rules: [{from: [{source: {principals: [\"a\"], prots: []}}]}]}",
        "{selectr: {}, rules: [{}]}",
        "{action: ALLOW, ruels: [{}]}",
    ] {
        let (policy, problems) = only(&authorization("shop/p", spec));
        let found = (policy.action, policy.rules.len(), policy.defect.is_some());
        assert_eq!(found, (Action::Allow, 0, true), "{spec}");
        let message = problems[0].to_string();
        assert!(message.contains("warning: spec") && message.contains("nearest"), "{spec}: {message}");
    }
}

#[test]
fn a_denial_that_is_refused_in_part_keeps_its_other_fields() {
    let spec = "{action: DENY, rules: [{from: [{source: {notRequestPrincipals: [\"*\"], namespaces: [\"a\"]}}]}]}";
    let (policy, problems) = only(&authorization("shop/p", spec));
    let source = &policy.rules[0].from[0];
    assert_eq!(source.namespaces.any, [Pattern::Exact("a".into())]);
    assert!(source.request_principals.is_empty());
    let expected = "f:5: spec.rules[0]: expected what Weft can tell of a call, found requestPrincipals";
    assert!(problems[0].to_string().starts_with(expected), "{problems:?}");
}

#[test]
fn aliases_are_expanded_wherever_identities_stand() {
    let aliases = vec!["td2".parse().unwrap()];
    let settings = Settings { trust_domain: "td1".parse().unwrap(), aliases, ..Settings::default() };
    let ids = "[\"cluster.local/ns/a/sa/b\", \"other/ns/a/sa/b\"]";
    let source = format!("{{principals: {ids}, notPrincipals: {ids}, trustDomains: [\"td2\"]}}");
    let conditions =
        format!("[{{key: source.principal, notValues: {ids}}}, {{key: source.trustDomain, values: [\"td1\"]}}]");
    let text = authorization("shop/p", &format!("{{rules: [{{from: [{{source: {source}}}], when: {conditions}}}]}}"));
    let (set, problems) = set_with(&settings, &[("f", &text)]);
    let policies = set.for_workload("shop", &labels("")).1;
    let exact = |texts: &[&str]| texts.iter().map(|text| Pattern::Exact((*text).to_owned())).collect::<Vec<_>>();
    let ids = exact(&["td1/ns/a/sa/b", "td2/ns/a/sa/b", "other/ns/a/sa/b"]);
    let (rule, domains) = (&policies[0].rules[0], exact(&["td1", "td2"]));
    assert_eq!((&rule.from[0].principals.any, &rule.from[0].principals.not), (&ids, &ids));
    assert_eq!(rule.from[0].trust_domains.any, domains);
    let [Condition::SourcePrincipal(first), Condition::SourceTrustDomain(second)] = rule.when.as_slice() else {
        panic!("{rule:?}")
    };
    assert_eq!((&first.not, &second.any), (&ids, &domains));
    assert_eq!(counts(&problems), [0, 3, 0]);
    assert!(problems[0].message.contains("found other: taken as it is"));
}

#[test]
fn http_without_ports_is_told() {
    let with = |action: &str, rule: &str| authorization("shop/p", &format!("{{action: {action}, rules: [{rule}]}}"));
    let methods = "{to: [{operation: {methods: [\"GET\"]}}]}";
    let ports = "{to: [{operation: {methods: [\"GET\"], ports: [\"80\"]}}]}";
    let when = "{to: [{operation: {methods: [\"GET\"]}}], when: [{key: destination.port, values: [\"80\"]}]}";
    let header = "{when: [{key: \"request.headers[a]\", values: [\"b\"]}]}";
    for (action, rule, expected) in [
        ("ALLOW", methods, [0, 0, 1]),
        ("DENY", methods, [0, 1, 0]),
        ("DENY", header, [0, 1, 0]),
        ("DENY", ports, [0, 0, 0]),
        ("DENY", when, [0, 0, 0]),
        ("AUDIT", methods, [0, 0, 0]),
        ("DENY", "{from: [{source: {principals: [\"*\"]}}]}", [0, 0, 0]),
    ] {
        assert_eq!(counts(&only(&with(action, rule)).1), expected, "{action} {rule}");
    }
}
