//! The rows of istio-semantics A7, B2, B3 and B4 that a decision can show.

use std::net::IpAddr;

use super::*;
use crate::call::{HttpCall, Sni};
use crate::name::SpiffeId;
use crate::record::{
    Cidr, Condition, Matches, Operation, PathPattern, Pattern, PeerAuthentication, ServiceAccountRef, Source,
};

const CHECKOUT: &str = "cluster.local/ns/shop/sa/checkout";

fn inbound(mode: MtlsMode, policies: Vec<Policy>) -> Inbound {
    Inbound {
        workload: "shop/payments-1".parse().unwrap(),
        identity: SpiffeId::parse_lenient("cluster.local/ns/shop/sa/payments").unwrap(),
        service: "payments".into(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication: PeerAuthentication {
            default: Scoped { mode, origin: Some(origin("strict")) },
            ..PeerAuthentication::default()
        },
        policies,
    }
}

fn origin(name: &str) -> Origin {
    Origin { namespace: "shop".into(), name: name.into(), file: "p.yaml".into(), line: 1 }
}

fn policy(action: Action, rules: Vec<Rule>) -> Policy {
    Policy { origin: origin("p"), action, enforcement: Enforcement::Enforced, rules, defect: None }
}

fn dry(action: Action, rules: Vec<Rule>) -> Policy {
    Policy { enforcement: Enforcement::DryRun, ..policy(action, rules) }
}

fn any<T>(values: impl IntoIterator<Item = T>) -> Matches<T> {
    Matches { any: values.into_iter().collect(), not: Vec::new() }
}

fn none_of<T>(values: impl IntoIterator<Item = T>) -> Matches<T> {
    Matches { any: Vec::new(), not: values.into_iter().collect() }
}

fn texts<const N: usize>(values: [&str; N]) -> Matches<Pattern> {
    any(values.map(Pattern::parse))
}

fn not_texts<const N: usize>(values: [&str; N]) -> Matches<Pattern> {
    none_of(values.map(Pattern::parse))
}

fn from(source: Source) -> Rule {
    Rule { from: vec![source], ..Rule::default() }
}

fn to(operation: Operation) -> Rule {
    Rule { to: vec![operation], ..Rule::default() }
}

fn when(condition: Condition) -> Rule {
    Rule { when: vec![condition], ..Rule::default() }
}

fn principals(value: &str) -> Rule {
    from(Source { principals: texts([value]), ..Source::default() })
}

/// A call whose parts can be set one by one.
struct Case {
    peer: Option<SpiffeId>,
    headers: Vec<(String, String)>,
    method: &'static str,
    authority: &'static str,
    path: &'static str,
    tcp: bool,
    sni: Sni<'static>,
    ip: IpAddr,
}

impl Case {
    fn http() -> Self {
        Self {
            peer: Some(SpiffeId::parse_lenient(CHECKOUT).unwrap()),
            headers: Vec::new(),
            method: "GET",
            authority: "payments:80",
            path: "/charge",
            tcp: false,
            sni: Sni::Absent,
            ip: [10, 0, 0, 1].into(),
        }
    }

    fn tcp() -> Self {
        Self { tcp: true, ..Self::http() }
    }

    fn plaintext() -> Self {
        Self { peer: None, ..Self::http() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn call(&self) -> Call<'_> {
        let http = HttpCall { method: self.method, authority: self.authority, path: self.path, headers: &self.headers };
        Call {
            peer: self.peer.as_ref(),
            source_ip: self.ip,
            remote_ip: [203, 0, 113, 9].into(),
            destination_ip: [240, 240, 0, 1].into(),
            destination_port: 8080,
            sni: self.sni,
            http: (!self.tcp).then_some(http),
        }
    }

    #[track_caller]
    fn check(&self, inbound: &Inbound, expected: Decision) {
        let verdict = decide(inbound, &self.call());
        assert_eq!(verdict.decision, expected, "{verdict:?}");
    }

    /// Whether the rule matches, told by both an ALLOW and a DENY policy that hold it.
    #[track_caller]
    #[expect(clippy::fn_params_excessive_bools, reason = "the expectation is a column of the tables below")]
    fn matches(&self, rule: Rule, expected: bool) {
        let allow = inbound(MtlsMode::Permissive, vec![policy(Action::Allow, vec![rule.clone()])]);
        let deny = inbound(MtlsMode::Permissive, vec![policy(Action::Deny, vec![rule])]);
        self.check(&allow, if expected { Decision::Allow } else { Decision::Deny });
        self.check(&deny, if expected { Decision::Deny } else { Decision::Allow });
    }
}

#[test]
fn strict_refuses_plaintext_and_names_itself() {
    let strict = inbound(MtlsMode::Strict, vec![policy(Action::Allow, vec![Rule::default()])]);
    let plaintext = Case::plaintext();
    let verdict = decide(&strict, &plaintext.call());
    assert_eq!(verdict.reason, Reason::PeerAuthentication(Some(&origin("strict"))));
    Case::http().check(&strict, Decision::Allow);
}

#[test]
fn a_port_has_its_own_mode() {
    let mut strict = inbound(MtlsMode::Strict, Vec::new());
    strict.peer_authentication.ports.insert(8080, Scoped { mode: MtlsMode::Disable, origin: None });
    Case::plaintext().check(&strict, Decision::Allow);
}

#[test]
fn on_a_plaintext_port_an_identity_closes_and_never_opens() {
    let disable = |policies| inbound(MtlsMode::Disable, policies);
    Case::http().check(&disable(Vec::new()), Decision::Allow);
    Case::http().check(&disable(vec![policy(Action::Allow, vec![principals(CHECKOUT)])]), Decision::Deny);
    Case::http().check(&disable(vec![policy(Action::Deny, vec![principals(CHECKOUT)])]), Decision::Deny);
    let unless = from(Source { principals: not_texts([CHECKOUT]), ..Source::default() });
    Case::http().check(&disable(vec![policy(Action::Allow, vec![unless.clone()])]), Decision::Deny);
    Case::http().check(&disable(vec![policy(Action::Deny, vec![unless])]), Decision::Deny);
}

#[test]
fn deny_comes_before_allow_and_audit_has_no_part() {
    let all = || vec![Rule::default()];
    for (policies, expected) in [
        (vec![], Decision::Allow),
        (vec![policy(Action::Allow, vec![])], Decision::Deny),
        (vec![policy(Action::Allow, all())], Decision::Allow),
        (vec![policy(Action::Allow, vec![]), policy(Action::Allow, all())], Decision::Allow),
        (vec![policy(Action::Deny, all())], Decision::Deny),
        (vec![policy(Action::Deny, vec![])], Decision::Allow),
        (vec![policy(Action::Allow, all()), policy(Action::Deny, all())], Decision::Deny),
        (vec![policy(Action::Audit, all())], Decision::Allow),
        (vec![policy(Action::Audit, vec![])], Decision::Allow),
        (vec![dry(Action::Deny, all())], Decision::Allow),
        (vec![dry(Action::Allow, vec![])], Decision::Allow),
        (vec![dry(Action::Allow, all()), policy(Action::Allow, vec![])], Decision::Deny),
    ] {
        Case::http().check(&inbound(MtlsMode::Permissive, policies), expected);
    }
}

#[test]
fn the_reason_names_the_rule() {
    let rules = vec![principals("other"), Rule { index: 1, line: 9, ..Rule::default() }];
    let allow = inbound(MtlsMode::Permissive, vec![policy(Action::Allow, rules)]);
    let case = Case::http();
    let found = Match { policy: &allow.policies[0], rule: &allow.policies[0].rules[1] };
    assert_eq!(decide(&allow, &case.call()).reason, Reason::AllowedBy(found));

    let defect = Defect("spec.action: expected ALLOW, found 7".into());
    let broken = Policy { defect: Some(defect.clone()), ..policy(Action::Deny, vec![Rule::default()]) };
    let broken = inbound(MtlsMode::Permissive, vec![broken]);
    assert!(matches!(decide(&broken, &case.call()).reason, Reason::Defect(_, d) if *d == defect));
}

#[test]
fn what_is_only_reported_is_told_apart() {
    let all = || vec![Rule::default()];
    let record = inbound(
        MtlsMode::Strict,
        vec![
            policy(Action::Audit, all()),
            dry(Action::Deny, all()),
            policy(Action::Allow, all()),
            policy(Action::Audit, vec![]),
        ],
    );
    let case = Case::http();
    let reports: Vec<_> = reported(&record, &case.call()).map(|m| m.policy.action).collect();
    assert_eq!(reports, [Action::Audit, Action::Deny]);
    assert_eq!(decide(&record, &case.call()).decision, Decision::Allow);
    assert_eq!(rehearse(&record, &case.call()).decision, Decision::Deny);
    let told = unenforced(&record, &case.call()).unwrap();
    assert_eq!(told.audit, [Match { policy: &record.policies[0], rule: &record.policies[0].rules[0] }]);
    assert_eq!(told.dry_run, Some(rehearse(&record, &case.call())));
    let plaintext = Case::plaintext();
    assert_eq!(reported(&record, &plaintext.call()).count(), 0, "refused before any policy");
    assert_eq!(unenforced(&record, &plaintext.call()), None);
}

#[test]
fn an_unseen_server_name_closes() {
    let unseen = Case { sni: Sni::Unseen, ..Case::tcp() };
    for condition in [texts(["a.example"]), not_texts(["a.example"])] {
        let rule = when(Condition::Sni(condition));
        let of = |action| inbound(MtlsMode::Permissive, vec![policy(action, vec![rule.clone()])]);
        unseen.check(&of(Action::Allow), Decision::Deny);
        unseen.check(&of(Action::Deny), Decision::Deny);
        assert_eq!(reported(&of(Action::Audit), &unseen.call()).count(), 1);
    }
}

#[test]
fn a_server_name_is_asked_for_only_where_a_rule_hangs_on_it() {
    let rule = |port| Rule { to: on_port(port).to, ..when(Condition::Sni(texts(["a.example"]))) };
    let hangs = |mode, policies, case: &Case| hangs_on_sni(&inbound(mode, policies), &case.call());
    let case = Case::tcp();
    assert!(hangs(MtlsMode::Strict, vec![policy(Action::Deny, vec![rule(8080)])], &case));
    assert!(hangs(MtlsMode::Strict, vec![dry(Action::Allow, vec![rule(8080)])], &case));
    assert!(!hangs(MtlsMode::Strict, vec![policy(Action::Deny, vec![rule(443), on_port(8080)])], &case));
    let plaintext = Case { peer: None, ..Case::tcp() };
    assert!(!hangs(MtlsMode::Strict, vec![policy(Action::Deny, vec![rule(8080)])], &plaintext), "refused before");
    let unless = |mode| {
        let source = Source { principals: not_texts([CHECKOUT]), ..Source::default() };
        hangs(mode, vec![policy(Action::Deny, vec![Rule { from: vec![source], ..rule(8080) }])], &case)
    };
    assert!(!unless(MtlsMode::Permissive), "it isn't about this caller");
    assert!(unless(MtlsMode::Disable), "the caller is judged as nobody, too");
}

fn on_port(port: u16) -> Rule {
    to(Operation { ports: any([port]), ..Operation::default() })
}

#[test]
fn nothing_is_told_where_nothing_is_only_reported() {
    let case = Case::http();
    let told = |policies| unenforced(&inbound(MtlsMode::Permissive, policies), &case.call()).is_some();
    assert!(!told(vec![policy(Action::Allow, vec![Rule::default()])]));
    assert!(!told(vec![policy(Action::Audit, vec![principals("other")])]), "no match");
    assert!(!told(vec![dry(Action::Audit, vec![principals("other")])]), "it could decide nothing");
    assert!(told(vec![dry(Action::Audit, vec![Rule::default()])]));
    assert!(told(vec![dry(Action::Deny, vec![principals("other")])]), "that it would admit is worth telling");
}

#[test]
fn a_rehearsed_allow_counts_as_one_that_is_there() {
    let record = inbound(MtlsMode::Permissive, vec![dry(Action::Allow, vec![principals("other")])]);
    let case = Case::http();
    assert_eq!(decide(&record, &case.call()).reason, Reason::NoAllowPolicy);
    assert_eq!(rehearse(&record, &case.call()).reason, Reason::NoAllowMatched);
}

#[test]
fn who_calls_comes_out_of_the_certificate() {
    for (value, expected) in [
        (CHECKOUT, true),
        ("*", true),
        ("*/ns/shop/sa/checkout", true),
        ("cluster.local/ns/shop/*", true),
        ("cluster.local/ns/shop/sa/Checkout", false),
        ("spiffe://cluster.local/ns/shop/sa/checkout", false),
    ] {
        Case::http().matches(principals(value), expected);
        Case::plaintext().matches(principals(value), false);
        Case::plaintext().matches(from(Source { principals: not_texts([value]), ..Source::default() }), true);
        Case::http().matches(when(Condition::SourcePrincipal(texts([value]))), expected);
        Case::http().matches(when(Condition::SourcePrincipal(not_texts([value]))), !expected);
    }
    for (value, expected) in [("shop", true), ("sh*", true), ("*", true), ("Shop", false)] {
        Case::http().matches(from(Source { namespaces: texts([value]), ..Source::default() }), expected);
        Case::plaintext().matches(from(Source { namespaces: texts([value]), ..Source::default() }), false);
        Case::plaintext().matches(from(Source { namespaces: not_texts([value]), ..Source::default() }), true);
        Case::http().matches(when(Condition::SourceNamespace(texts([value]))), expected);
    }
    for (value, expected) in [("cluster.local", true), ("cluster*", true), ("other", false)] {
        Case::http().matches(from(Source { trust_domains: texts([value]), ..Source::default() }), expected);
        Case::http().matches(when(Condition::SourceTrustDomain(texts([value]))), expected);
        Case::plaintext().matches(when(Condition::SourceTrustDomain(not_texts([value]))), true);
    }
}

#[test]
fn a_service_account_counts_in_every_trust_domain() {
    let account = |namespace: &str| ServiceAccountRef { namespace: namespace.into(), name: "checkout".into() };
    let other = SpiffeId::parse_lenient("other.example/ns/shop/sa/checkout").unwrap();
    for peer in [Case::http(), Case { peer: Some(other), ..Case::http() }] {
        for (namespace, expected) in [("shop", true), ("default", false)] {
            peer.matches(from(Source { service_accounts: any([account(namespace)]), ..Source::default() }), expected);
            peer.matches(when(Condition::SourceServiceAccount(none_of([account(namespace)]))), !expected);
        }
    }
    Case::plaintext().matches(from(Source { service_accounts: none_of([account("shop")]), ..Source::default() }), true);
}

#[test]
fn addresses_lie_in_blocks() {
    let block = |a: &str, bits| Cidr::new(a.parse().unwrap(), bits).unwrap();
    for (address, bits, expected) in [
        ("10.0.0.0", 8, true),
        ("10.0.0.2", 32, false),
        ("0.0.0.0", 0, true),
        ("::ffff:10.0.0.0", 104, true),
        ("::ffff:11.0.0.0", 104, false),
        ("fd00::", 8, false),
    ] {
        let field = || any([block(address, bits)]);
        Case::http().matches(from(Source { ip_blocks: field(), ..Source::default() }), expected);
        Case::http().matches(when(Condition::SourceIp(field())), expected);
    }
    let mapped = Case { ip: "::ffff:10.0.0.1".parse().unwrap(), ..Case::http() };
    mapped.matches(when(Condition::SourceIp(any([block("10.0.0.0", 8)]))), true);
    Case::http().matches(when(Condition::DestinationIp(any([block("240.240.0.0", 16)]))), true);
    Case::http().matches(when(Condition::DestinationPort(none_of([8080]))), false);

    let vouched = || any([block("203.0.113.0", 24)]);
    Case::http().matches(from(Source { remote_ip_blocks: vouched(), ..Source::default() }), true);
    Case::http().matches(when(Condition::RemoteIp(vouched())), true);
    Case::tcp().matches(when(Condition::RemoteIp(vouched())), false);
    Case::tcp().matches(when(Condition::RemoteIp(any([block("10.0.0.0", 8)]))), true);
}

#[test]
fn what_is_called_matches_by_its_own_rules() {
    let hosts = |m| to(Operation { hosts: m, ..Operation::default() });
    Case::http().matches(hosts(texts(["PAYMENTS:80"])), true);
    Case::http().matches(hosts(texts(["payments"])), false);
    Case::http().matches(hosts(not_texts(["Pay*"])), false);
    Case { authority: "", ..Case::http() }.matches(hosts(texts(["*"])), false);

    let methods = |m| to(Operation { methods: m, ..Operation::default() });
    Case::http().matches(methods(texts(["POST", "GET"])), true);
    Case::http().matches(methods(texts(["get"])), false);

    let paths =
        |value: &str| to(Operation { paths: any([PathPattern::parse(value).unwrap()]), ..Operation::default() });
    Case::http().matches(paths("/ch*"), true);
    Case::http().matches(paths("/Charge"), false);
    Case::http().matches(paths("/{*}"), true);

    let ports = |m| to(Operation { ports: m, ..Operation::default() });
    Case::http().matches(ports(any([80, 8080])), true);
    Case::http().matches(ports(none_of([8080])), false);
    Case::http().matches(when(Condition::Sni(texts(["*"]))), false);
    let named = |name| Case { sni: Sni::Name(name), ..Case::tcp() };
    for (name, expected) in [("a.example", true), ("A.Example", true), ("a.example.org", false)] {
        named(name).matches(when(Condition::Sni(texts(["*.example"]))), expected);
        named(name).matches(when(Condition::Sni(not_texts(["*.example"]))), !expected);
    }
    Case::tcp().matches(when(Condition::Sni(texts(["*"]))), false);
    Case::tcp().matches(when(Condition::Sni(not_texts(["a.example"]))), true);
}

#[test]
fn alternatives_are_any_and_fields_are_all() {
    let stranger = Source { namespaces: texts(["other"]), ..Source::default() };
    let both = Source { namespaces: texts(["shop"]), principals: texts(["other"]), ..Source::default() };
    let known = Source { namespaces: texts(["shop"]), ..Source::default() };
    Case::http().matches(Rule { from: vec![stranger.clone(), known.clone()], ..Rule::default() }, true);
    Case::http().matches(Rule { from: vec![stranger, both], ..Rule::default() }, false);
    let port = Operation { ports: any([9]), ..Operation::default() };
    Case::http().matches(Rule { from: vec![known], to: vec![port], ..Rule::default() }, false);
    let (holds, fails) = (Condition::DestinationPort(any([8080])), Condition::DestinationPort(any([9])));
    Case::http().matches(Rule { when: vec![holds, fails], ..Rule::default() }, false);
}

#[test]
fn header_values_are_one_text() {
    let header = |name: &str, m| when(Condition::Header(name.into(), m));
    let one = || Case::http().header("X-Tenant", "blue");
    one().matches(header("x-tenant", texts(["blue"])), true);
    one().matches(header("x-tenant", not_texts(["blue"])), false);
    let two = || one().header("x-tenant", "red");
    two().matches(header("x-tenant", texts(["blue"])), false);
    two().matches(header("x-tenant", texts(["blue,red"])), true);
    two().matches(header("x-tenant", not_texts(["*red"])), false);
    Case::http().header("cookie", "a=1").header("cookie", "b=2").matches(header("cookie", texts(["a=1; b=2"])), true);
}

#[test]
fn an_empty_header_is_there_and_a_missing_one_is_not() {
    let header = |m| when(Condition::Header("x".into(), m));
    for (case, present) in [(Case::http().header("x", ""), true), (Case::http(), false)] {
        case.matches(header(texts(["*"])), present);
        case.matches(header(not_texts(["*"])), !present);
    }
    let doubled = Case::http().header("x", "").header("x", "");
    doubled.matches(header(texts([","])), true);
}

#[test]
fn pseudo_headers_are_the_requests_own_parts() {
    for (name, value) in
        [(":authority", "payments:80"), ("host", "payments:80"), (":method", "GET"), (":path", "/charge")]
    {
        Case::http().matches(when(Condition::Header(name.into(), texts([value]))), true);
        Case::http().matches(when(Condition::Header(name.into(), not_texts([value]))), false);
    }
    let case = Case::http().header(":path", "/charge?a=1").header("host", "forged");
    case.matches(when(Condition::Header(":path".into(), texts(["/charge"]))), false);
    case.matches(when(Condition::Header("host".into(), texts(["forged"]))), false);
    Case { authority: "", ..Case::http() }.matches(when(Condition::Header("host".into(), texts(["*"]))), false);
}

#[test]
fn on_tcp_http_fields_close_in_both_directions() {
    let methods = || Operation { methods: texts(["GET"]), ..Operation::default() };
    let ports = |port| Operation { ports: any([port]), ..Operation::default() };
    let http_fields = [
        to(methods()),
        to(Operation { methods: not_texts(["GET"]), ..Operation::default() }),
        to(Operation { hosts: texts(["a"]), ..Operation::default() }),
        to(Operation { paths: any([PathPattern::parse("/a").unwrap()]), ..Operation::default() }),
        when(Condition::Header("x".into(), texts(["a"]))),
        when(Condition::Auth(vec!["iss".into()], texts(["a"]))),
        Rule { to: vec![ports(8080), methods()], ..Rule::default() },
    ];
    for rule in http_fields {
        assert!(rule.uses_http());
        let policies = |action| inbound(MtlsMode::Permissive, vec![policy(action, vec![rule.clone()])]);
        Case::tcp().check(&policies(Action::Allow), Decision::Deny);
        Case::tcp().check(&policies(Action::Deny), Decision::Deny);
    }
    let elsewhere = Operation { methods: texts(["GET"]), ..ports(9) };
    let deny = inbound(MtlsMode::Permissive, vec![policy(Action::Deny, vec![to(elsewhere)])]);
    Case::tcp().check(&deny, Decision::Allow);
    let two = vec![to(methods()), to(ports(8080))];
    let allow = inbound(MtlsMode::Permissive, vec![policy(Action::Allow, two)]);
    Case::tcp().check(&allow, Decision::Allow);
}

#[test]
fn what_a_token_says_is_missing() {
    use crate::record::Claim;
    let claim = || Claim { issuer: Pattern::Present, subject: Pattern::Present };
    let principals = |m| from(Source { request_principals: m, ..Source::default() });
    Case::http().matches(principals(any([claim()])), false);
    Case::http().matches(principals(none_of([claim()])), true);
    Case::http().matches(when(Condition::Auth(vec!["aud".into()], texts(["*"]))), false);
}
