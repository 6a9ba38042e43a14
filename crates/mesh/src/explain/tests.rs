use super::*;
use crate::call::{Call, Sni};
use crate::decide::decide;
use crate::name::SpiffeId;
use crate::record::{
    Defect, Enforcement, Matches, MtlsMode, Operation, Pattern, PeerAuthentication, Rule, Scoped, Source,
};

fn policy(name: &str, action: Action, rules: Vec<Rule>) -> Policy {
    let origin = Origin { namespace: "default".into(), name: name.into(), file: "policy.yaml".into(), line: 12 };
    Policy { origin, action, enforcement: Enforcement::Enforced, rules, defect: None }
}

fn rule() -> Rule {
    Rule { index: 1, line: 20, ..Rule::default() }
}

fn stranger() -> Rule {
    let namespaces = Matches { any: vec![Pattern::parse("other")], not: Vec::new() };
    Rule { from: vec![Source { namespaces, ..Source::default() }], ..rule() }
}

fn by_method() -> Rule {
    let methods = Matches { any: vec![Pattern::parse("GET")], not: Vec::new() };
    Rule { to: vec![Operation { methods, ..Operation::default() }], ..rule() }
}

/// Explains what becomes of a TCP call, with or without a verified caller.
fn told(mode: MtlsMode, policies: Vec<Policy>, peer: Option<&str>) -> Explanation {
    let peer = peer.map(|id| SpiffeId::parse_lenient(id).unwrap());
    let origin = Origin { namespace: "istio-system".into(), name: "default".into(), file: "mtls.yaml".into(), line: 3 };
    let inbound = Inbound {
        workload: "default/payments".parse().unwrap(),
        identity: SpiffeId::parse_lenient("td/ns/default/sa/payments").unwrap(),
        service: "payments".into(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication: PeerAuthentication {
            default: Scoped { mode, origin: Some(origin) },
            ..PeerAuthentication::default()
        },
        policies,
    };
    let ip = [10, 0, 0, 1].into();
    let call = Call {
        peer: peer.as_ref(),
        source_ip: ip,
        remote_ip: ip,
        destination_ip: ip,
        destination_port: 8080,
        sni: Sni::Absent,
        http: None,
    };
    explain(&inbound, &decide(&inbound, &call))
}

const PEER: Option<&str> = Some("td/ns/default/sa/checkout");

#[track_caller]
fn check(explanation: Explanation, verdict: Decision, reason: &str) {
    assert_eq!((explanation.verdict, explanation.reason.as_str()), (verdict, reason));
}

#[test]
fn peer_authentication_is_named_where_it_decides() {
    let explanation = told(MtlsMode::Strict, Vec::new(), None);
    assert_eq!(explanation.rule, None);
    check(
        explanation,
        Decision::Deny,
        "denied: PeerAuthentication is STRICT (istio-system/default at mtls.yaml:3) and the caller proved no identity by mTLS",
    );
    check(
        told(MtlsMode::Disable, vec![policy("a", Action::Allow, vec![stranger()])], Some("td/ns/other/sa/b")),
        Decision::Deny,
        "denied: no ALLOW rule of 1 policy matches (default/a at policy.yaml:12); PeerAuthentication is DISABLE (istio-system/default at mtls.yaml:3), so callers come without identity",
    );
}

#[test]
fn the_deciding_rule_is_named_with_its_place() {
    let explanation = told(MtlsMode::Permissive, vec![policy("a", Action::Allow, vec![rule()])], PEER);
    let place = RulePlace { policy: "default/a".into(), index: 1, file: "policy.yaml".into(), line: 20 };
    assert_eq!(explanation.rule, Some(place));
    check(explanation, Decision::Allow, "allowed: ALLOW rule 1 matches (default/a at policy.yaml:20)");
    check(
        told(MtlsMode::Permissive, vec![policy("d", Action::Deny, vec![rule()])], PEER),
        Decision::Deny,
        "denied: DENY rule 1 matches (default/d at policy.yaml:20)",
    );
}

#[test]
fn where_no_rule_decides_the_policies_are_named() {
    let allow = |name| policy(name, Action::Allow, vec![stranger()]);
    check(
        told(MtlsMode::Permissive, vec![allow("a"), allow("b")], PEER),
        Decision::Deny,
        "denied: no ALLOW rule of 2 policies matches (default/a at policy.yaml:12, default/b at policy.yaml:12)",
    );
    let many = ["a", "b", "c", "d", "e"].map(allow).to_vec();
    let reason = told(MtlsMode::Permissive, many, None).reason;
    assert!(
        reason.ends_with("default/c at policy.yaml:12, 2 more); the caller is plaintext and has no identity"),
        "{reason}"
    );
    check(
        told(MtlsMode::Permissive, vec![policy("d", Action::Deny, vec![stranger()])], PEER),
        Decision::Allow,
        "allowed: no DENY rule of 1 policy matches (default/d at policy.yaml:12), and no ALLOW policy selects the workload",
    );
    check(
        told(MtlsMode::Permissive, Vec::new(), PEER),
        Decision::Allow,
        "allowed: no policy selects the workload default/payments",
    );
}

#[test]
fn a_defect_is_told_in_its_own_words() {
    let defect = Some(Defect("policy.yaml:15: spec.action: expected ALLOW, DENY or AUDIT, found CUSTOM".into()));
    let deny = Policy { defect: defect.clone(), ..policy("d", Action::Deny, vec![rule()]) };
    check(
        told(MtlsMode::Permissive, vec![deny], PEER),
        Decision::Deny,
        "denied: policy default/d at policy.yaml:20 can't be understood and denies what it might have denied: policy.yaml:15: spec.action: expected ALLOW, DENY or AUDIT, found CUSTOM",
    );
    let allow = Policy { defect, ..policy("a", Action::Allow, Vec::new()) };
    check(
        told(MtlsMode::Permissive, vec![allow], PEER),
        Decision::Deny,
        "denied: no ALLOW rule of 1 policy matches (default/a at policy.yaml:12); default/a can't be understood: policy.yaml:15: spec.action: expected ALLOW, DENY or AUDIT, found CUSTOM",
    );
}

#[test]
fn http_fields_on_tcp_are_pointed_out() {
    let reason = |action| told(MtlsMode::Permissive, vec![policy("p", action, vec![by_method()])], PEER).reason;
    assert!(reason(Action::Allow).ends_with("; this is TCP, where ALLOW rules with HTTP fields admit nothing"));
    assert!(reason(Action::Deny).ends_with("; this is TCP, where its HTTP fields can't be seen and count as matching"));
}

#[test]
fn what_is_unknown_of_a_place_is_left_out() {
    let mut nameless = policy("a", Action::Allow, vec![Rule::default()]);
    nameless.origin.line = 0;
    check(
        told(MtlsMode::Permissive, vec![nameless.clone()], PEER),
        Decision::Allow,
        "allowed: ALLOW rule 0 matches (default/a at policy.yaml)",
    );
    nameless.origin.file.clear();
    check(
        told(MtlsMode::Permissive, vec![nameless], PEER),
        Decision::Allow,
        "allowed: ALLOW rule 0 matches (default/a)",
    );
}
