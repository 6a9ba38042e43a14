//! Peer authentication (istio-semantics, A1 to A6). Modes are told by their first letter.

use super::*;

/// The effective mode of a workload and of its ports, such as `S 80=P`.
fn effective(files: &[(&str, &str)], namespace: &str, of: &str) -> String {
    let (set, _) = set(files);
    let found = set.for_workload(namespace, &labels(of)).0;
    let letter = |mode: MtlsMode| format!("{mode:?}")[..1].to_owned();
    let ports = found.ports.iter().map(|(port, scoped)| format!(" {port}={}", letter(scoped.mode)));
    letter(found.default.mode) + &ports.collect::<String>()
}

#[test]
fn the_narrowest_scope_wins_setting_by_setting() {
    let mesh = |mode: &str| peer("istio-system/default", &format!("{{mtls: {{mode: {mode}}}}}"));
    let namespace = |mode: &str| peer("shop/default", &format!("{{mtls: {{mode: {mode}}}}}"));
    let workload = |rest: &str| peer("shop/web", &format!("{{selector: {{matchLabels: {{app: web}}}}, {rest}}}"));
    let web = "app=web,version=v1";
    for (files, place, of, expected) in [
        // A1, A3, A4: scopes, and what is unset.
        (vec![], "shop", web, "P"),
        (vec![mesh("STRICT")], "shop", web, "S"),
        (vec![mesh("STRICT")], "istio-system", web, "S"),
        (vec![mesh("STRICT"), namespace("DISABLE")], "shop", web, "D"),
        (vec![mesh("STRICT"), namespace("DISABLE")], "other", web, "S"),
        (vec![mesh("STRICT"), namespace("UNSET")], "shop", web, "S"),
        (vec![mesh("UNSET"), namespace("UNSET")], "shop", web, "P"),
        (vec![namespace("STRICT"), workload("mtls: {mode: PERMISSIVE}")], "shop", web, "P"),
        (vec![namespace("STRICT"), workload("mtls: {mode: PERMISSIVE}")], "shop", "app=api", "S"),
        (vec![namespace("STRICT"), workload("mtls: {mode: PERMISSIVE}")], "other", web, "P"),
        (vec![namespace("STRICT"), workload("mtls: {}")], "shop", web, "S"),
        // A6: ports, only of the workload's own policy; what is unset there inherits.
        (vec![namespace("STRICT"), workload("portLevelMtls: {80: {mode: DISABLE}}")], "shop", web, "S 80=D"),
        (vec![namespace("STRICT"), workload("portLevelMtls: {80: {mode: UNSET}}")], "shop", web, "S"),
        (vec![workload("mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: STRICT}}")], "shop", web, "D 80=S"),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|text: &String| ("f", text.as_str())).collect();
        assert_eq!(effective(&files, place, of), expected, "{files:?} {place} {of}");
    }
    let all = peer("shop/all", "{selector: {matchLabels: {}}, mtls: {mode: STRICT}}");
    assert_eq!(effective(&[("f", &all)], "shop", "app=api"), "S");
}

#[test]
fn each_setting_names_who_made_it() {
    let text = [
        peer("istio-system/default", "{mtls: {mode: STRICT}}"),
        peer("shop/web", "{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: DISABLE}}}"),
    ]
    .concat();
    let found = set(&[("f", &text)]).0.for_workload("shop", &labels("app=web")).0;
    let name = |port| found.at(port).origin.as_ref().map(|origin| (origin.name.as_str(), origin.line));
    assert_eq!((name(80), name(81)), (Some(("web", 7)), Some(("default", 2))));
}

#[test]
fn a_selector_in_the_root_namespace_is_without_effect() {
    let rooted = peer("istio-system/web", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}");
    for place in ["shop", "istio-system"] {
        assert_eq!(effective(&[("f", &rooted)], place, "app=web"), "P");
    }
    let (_, problems) = set(&[("f", &rooted)]);
    assert!(
        problems[0].to_string().starts_with("f:2: warning: spec.selector: expected no selector in the root namespace")
    );
}

#[test]
fn of_two_in_one_scope_the_older_counts_whole() {
    let with = |name: &str, mode: &str, created: &str| {
        peer(name, &format!("{{mtls: {{mode: {mode}}}}}"))
            .replace("name:", &format!("creationTimestamp: {created}, name:"))
    };
    let (old, new) = ("\"2026-01-01T00:00:00Z\"", "\"2026-01-01T00:00:01Z\"");
    for (first, second, expected) in [
        (with("shop/a", "STRICT", old), with("shop/b", "DISABLE", new), "S"),
        (with("shop/a", "STRICT", new), with("shop/b", "DISABLE", old), "D"),
        (with("shop/a", "STRICT", old), with("shop/b", "DISABLE", old), "S"),
        (with("shop/a", "UNSET", old), with("shop/b", "DISABLE", new), "P"),
        (with("shop/a", "STRICT", "null"), with("shop/b", "DISABLE", old), "D"),
    ] {
        assert_eq!(effective(&[("b", &first), ("c", &second)], "shop", ""), expected, "{first} {second}");
    }
    let (a, b) = (with("shop/a", "STRICT", "null"), with("shop/b", "DISABLE", "null"));
    assert_eq!(effective(&[("2", &a), ("1", &b)], "shop", ""), "D", "by the file's name");
    assert_eq!(effective(&[("1", &format!("{a}{b}"))], "shop", ""), "S", "by the line");
    let (_, problems) = set(&[("2", &a), ("1", &b)]);
    let message = problems[0].to_string();
    assert!(message.contains("found shop/a too (2:2): this one counts"), "{message}");
}

#[test]
fn a_broken_one_demands_mutual_tls_where_it_may_govern() {
    let broken = |name: &str, rest: &str| peer(name, &format!("{{mtls: {{mode: STRCIT}}{rest}}}"));
    let web = ", selector: {matchLabels: {app: web}}";
    let fine = peer(
        "shop/a",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: DISABLE}}}",
    );
    for (text, place, of, expected) in [
        (broken("shop/b", ""), "shop", "", "S"),
        (broken("shop/b", ""), "other", "", "P"),
        (broken("istio-system/b", ""), "other", "", "S"),
        (broken("shop/b", web), "shop", "app=web", "S"),
        (broken("shop/b", web), "shop", "app=api", "P"),
        (broken("shop/b", ", selector: 5"), "shop", "app=api", "S"),
        // A narrower one that is understood still counts; one in the same scope doesn't.
        (format!("{fine}{}", broken("shop/b", "")), "shop", "app=web", "D 80=D"),
        (format!("{fine}{}", broken("shop/b", web)), "shop", "app=web", "S"),
        (format!("{fine}{}", broken("shop/b", ", selector: 5")), "shop", "app=web", "S"),
        (format!("{fine}{}", broken("Shop/b", "")), "shop", "app=web", "S"),
        (peer("shop/a", "{portLevelMtls: {80: {mode: PERMISSIVE}}}"), "shop", "", "S"),
        ("kind: PeerAuthentication\nspec: [".to_owned(), "shop", "", "S"),
    ] {
        assert_eq!(effective(&[("f", &text)], place, of), expected, "{text} {place} {of}");
        let (_, problems) = set(&[("f", &text)]);
        assert!(problems.iter().any(|p| p.severity == Severity::Error), "{text}");
        assert!(problems.iter().any(|p| p.message.contains("only mutual TLS is taken")), "{text}");
    }
}
