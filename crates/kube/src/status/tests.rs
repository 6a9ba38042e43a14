use super::*;
use serde_json::json;

const NOW: &str = "2026-01-31T12:00:00Z";

fn ids(count: usize) -> Vec<WorkloadId> {
    (0..count).map(|at| format!("shop/web-{at}").parse().unwrap()).collect()
}

fn told(problems: &[&Problem], pods: &[(&WorkloadId, Following)], was: &BTreeMap<String, Value>) -> Vec<Condition> {
    conditions(Subject { generation: 3, resources: &[], problems, selected: pods }, was, NOW)
}

#[test]
fn whom_it_selects_and_who_runs_it() {
    use Following::{Behind, Current, Unmeshed};
    let ids = ids(5);
    let pods = |states: &[Following]| ids.iter().zip(states.iter().copied()).collect::<Vec<_>>();
    let cases: [(&[Following], &str, &str); 5] = [
        (&[], "NoPods", "it selects no pod that runs"),
        (&[Current], "AllProxies", "1 of 1 proxy run it"),
        (&[Current, Behind, Current], "ProxiesBehind", "2 of 3 proxies run it; behind: shop/web-1"),
        (&[Current, Unmeshed], "PodsWithoutProxy", "1 of 1 proxy run it; without a proxy, so not enforced: shop/web-1"),
        (
            &[Behind, Behind, Behind, Behind, Unmeshed],
            "ProxiesBehind",
            "0 of 4 proxies run it; behind: shop/web-0, shop/web-1, shop/web-2 and 1 more; \
             without a proxy, so not enforced: shop/web-4",
        ),
    ];
    for (states, reason, message) in cases {
        let conditions = told(&[], &pods(states), &BTreeMap::new());
        assert_eq!((conditions[2].reason, conditions[2].message.as_str()), (reason, message));
        assert_eq!(conditions[2].status == Truth::True, reason == "AllProxies");
    }
    let selected = &told(&[], &pods(&[Current; 5]), &BTreeMap::new())[1];
    assert_eq!(selected.message, "it selects 5 pods: shop/web-0, shop/web-1, shop/web-2 and 2 more");
}

#[test]
fn problems_are_told_in_their_own_words() {
    let parsed = weft_resources::parse_object(
        "AuthorizationPolicy shop/p",
        r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy",
            "metadata":{"name":"p","namespace":"shop"},"spec":{"action":"NO"}}"#,
    );
    let problems: Vec<&Problem> = parsed.problems.iter().collect();
    let accepted = &told(&problems, &[], &BTreeMap::new())[0];
    assert_eq!((accepted.status, accepted.reason), (Truth::False, "NotUnderstood"));
    assert!(accepted.message.starts_with("spec.action: expected ALLOW"), "{}", accepted.message);
    // What is only warned of may break a policy, too.
    let parsed = weft_resources::parse_object(
        "AuthorizationPolicy shop/p",
        r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy",
            "metadata":{"name":"p","namespace":"shop"},"spec":{"rules":[{"form":[]}]}}"#,
    );
    let problems: Vec<&Problem> = parsed.problems.iter().collect();
    let subject = Subject { generation: 3, resources: &parsed.resources, problems: &problems, selected: &[] };
    assert_eq!(conditions(subject, &BTreeMap::new(), NOW)[0].reason, "NotUnderstood");
    let accepted = &told(&[], &[], &BTreeMap::new())[0];
    assert_eq!((accepted.status, accepted.observed_generation), (Truth::True, 3));
}

#[test]
fn what_is_as_it_was_keeps_its_time_and_is_not_told_again() {
    let ids = ids(1);
    let pods = [(&ids[0], Following::Current)];
    let as_written = |conditions: &[Condition]| -> BTreeMap<String, Value> {
        conditions.iter().map(|c| (c.kind.to_owned(), serde_json::to_value(c).unwrap())).collect()
    };
    let mut was = as_written(&told(&[], &pods, &BTreeMap::new()));
    was.get_mut("Enforced").unwrap()["lastTransitionTime"] = json!("2025-01-01T00:00:00Z");
    let again = told(&[], &pods, &was);
    assert_eq!(again[2].last_transition_time, "2025-01-01T00:00:00Z");
    assert!(is_told(&again, &was));
    let behind = told(&[], &[(&ids[0], Following::Behind)], &was);
    assert_eq!(behind[2].last_transition_time, NOW);
    assert!(!is_told(&behind, &was));
    assert!(!is_told(&again, &BTreeMap::new()));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    assert_eq!(bounded("ä".repeat(5000)).chars().count(), MAX_MESSAGE_CHARS + 1);
    assert_eq!(bounded("short".to_owned()), "short");
}

#[test]
fn the_scope_is_the_namespace_or_the_whole_mesh() {
    let resource = |namespace: &str, selector: &str| {
        let json = format!(
            r#"{{"apiVersion":"security.istio.io/v1","kind":"PeerAuthentication",
                "metadata":{{"name":"p","namespace":"{namespace}"}},"spec":{{{selector}}}}}"#
        );
        weft_resources::parse_object("PeerAuthentication", &json).resources.remove(0)
    };
    let labels: BTreeMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
    let reaches = |resource: &Resource| selects(resource, "istio-system", "shop", &labels);
    assert!(reaches(&resource("shop", "")) && reaches(&resource("istio-system", "")));
    assert!(!reaches(&resource("other", "")));
    assert!(reaches(&resource("shop", r#""selector":{"matchLabels":{"app":"web"}}"#)));
    assert!(!reaches(&resource("shop", r#""selector":{"matchLabels":{"app":"db"}}"#)));
    // Without effect, whomever it selects.
    assert!(!reaches(&resource("istio-system", r#""selector":{"matchLabels":{"app":"web"}}"#)));
}

#[test]
fn a_policy_for_gateways_selects_nobody() {
    let text = r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"p","namespace":"shop"},
        "spec":{"targetRefs":[{"kind":"Service","group":"","name":"web"}],"action":"DENY","rules":[{}]}}"#;
    let parsed = weft_resources::parse_object("AuthorizationPolicy", text);
    assert_eq!(parsed.problems, []);
    assert!(!selects(&parsed.resources[0], "istio-system", "shop", &BTreeMap::new()));
}
