//! Random records and calls out of few names, so that they meet often.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use weft_mesh::call::{Call, HttpCall, Sni};
use weft_mesh::name::SpiffeId;
use weft_mesh::record::{
    Action, Cidr, Claim, Condition, Enforcement, Inbound, Matches, MtlsMode, Operation, Origin, PathPattern, Pattern,
    PeerAuthentication, Policy, Rule, Scoped, ServiceAccountRef, Source,
};

/// A call that owns its parts.
#[derive(Debug, Clone)]
pub(crate) struct OwnedCall {
    peer: Option<SpiffeId>,
    ips: [IpAddr; 3],
    port: u16,
    pub(crate) sni: Sni<'static>,
    http: Option<OwnedHttp>,
}

#[derive(Debug, Clone)]
struct OwnedHttp {
    method: &'static str,
    authority: &'static str,
    path: &'static str,
    headers: Vec<(String, String)>,
}

impl OwnedCall {
    pub(crate) fn call(&self) -> Call<'_> {
        let http = self.http.as_ref().map(|h| HttpCall {
            method: h.method,
            authority: h.authority,
            path: h.path,
            headers: &h.headers,
        });
        let [source_ip, remote_ip, destination_ip] = self.ips;
        Call {
            peer: self.peer.as_ref(),
            source_ip,
            remote_ip,
            destination_ip,
            destination_port: self.port,
            sni: self.sni,
            http,
        }
    }
}

pub(crate) fn call() -> impl Strategy<Value = OwnedCall> {
    let ips = [ip(), ip(), ip()];
    let sni = select(vec![Sni::Unseen, Sni::Absent, Sni::Name("a.example"), Sni::Name("B.example")]);
    (prop::option::weighted(0.8, id()), ips, port(), sni, prop::option::weighted(0.7, http()))
        .prop_map(|(peer, ips, port, sni, http)| OwnedCall { peer, ips, port, sni, http })
}

fn http() -> impl Strategy<Value = OwnedHttp> {
    let header = (select(vec!["x", "X", "cookie", ":path"]), select(vec!["", "a", "b", "a,b", "/a?q"]));
    let headers = prop::collection::vec(header.prop_map(|(n, v)| (n.to_owned(), v.to_owned())), 0..4);
    (select(vec!["GET", "POST", "get"]), select(vec!["a.example", "A.example:80", ""]), select(PATHS.to_vec()), headers)
        .prop_map(|(method, authority, path, headers)| OwnedHttp { method, authority, path, headers })
}

pub(crate) fn inbound() -> impl Strategy<Value = Inbound> {
    let ports = prop::collection::btree_map(port(), scoped(), 0..2);
    let authentication = (scoped(), ports).prop_map(|(default, ports)| PeerAuthentication { default, ports });
    (authentication, prop::collection::vec(policy(), 0..5)).prop_map(|(peer_authentication, policies)| Inbound {
        workload: "a/w".parse().unwrap(),
        identity: "spiffe://td/ns/a/sa/w".parse().unwrap(),
        service: "w".into(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication,
        policies,
    })
}

fn scoped() -> impl Strategy<Value = Scoped> {
    let mode = select(vec![MtlsMode::Permissive, MtlsMode::Permissive, MtlsMode::Strict, MtlsMode::Disable]);
    mode.prop_map(|mode| Scoped { mode, origin: None })
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = select(vec![Action::Allow, Action::Allow, Action::Deny, Action::Audit]);
    let enforcement = select(vec![Enforcement::Enforced, Enforcement::Enforced, Enforcement::DryRun]);
    (action, enforcement, prop::collection::vec(rule(), 0..3)).prop_map(|(action, enforcement, rules)| {
        let origin = Origin { namespace: "a".into(), name: "p".into(), file: String::new(), line: 0 };
        Policy { origin, action, enforcement, rules, defect: None }
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let from = prop::collection::vec(source(), 0..3);
    let to = prop::collection::vec(operation(), 0..3);
    let when = prop::collection::vec(condition(), 0..2);
    (from, to, when).prop_map(|(from, to, when)| Rule { index: 0, line: 0, from, to, when })
}

/// Usually one or two fields are set.
fn source() -> impl Strategy<Value = Source> {
    let claim = (pattern(&["a"]), pattern(&["b"])).prop_map(|(issuer, subject)| Claim { issuer, subject });
    (
        rarely(field(pattern(IDS))),
        rarely(field(pattern(NAMESPACES))),
        rarely(field(account())),
        rarely(field(pattern(TRUST_DOMAINS))),
        rarely(field(block())),
        rarely(field(block())),
        prop_oneof![12 => Just(Matches::default()), 1 => field(claim)],
    )
        .prop_map(
            |(
                principals,
                namespaces,
                service_accounts,
                trust_domains,
                ip_blocks,
                remote_ip_blocks,
                request_principals,
            )| {
                Source {
                    principals,
                    namespaces,
                    service_accounts,
                    trust_domains,
                    ip_blocks,
                    remote_ip_blocks,
                    request_principals,
                }
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    let path = prop_oneof![
        pattern(PATHS).prop_map(PathPattern::Text),
        select(vec!["/{*}", "/a/{**}", "/{**}/b"]).prop_map(|t| PathPattern::Template(t.to_owned())),
    ];
    (
        rarely(field(pattern(&["A.EXAMPLE", "a.example:80"]))),
        rarely(field(port())),
        rarely(field(pattern(&["GET", "POST"]))),
        rarely(field(path)),
    )
        .prop_map(|(hosts, ports, methods, paths)| Operation { hosts, ports, methods, paths })
}

fn condition() -> impl Strategy<Value = Condition> {
    let name = select(vec!["x", "cookie", ":authority", "host", ":method", ":path", "y"]).prop_map(str::to_owned);
    let value = pattern(&["a", "b", "a,b", "a; b", "", "GET", "a.example", "/a?q", "/a"]);
    prop_oneof![
        4 => (name, field(value)).prop_map(|(name, m)| Condition::Header(name, m)),
        1 => field(block()).prop_map(Condition::SourceIp),
        1 => field(block()).prop_map(Condition::RemoteIp),
        1 => field(pattern(NAMESPACES)).prop_map(Condition::SourceNamespace),
        1 => field(account()).prop_map(Condition::SourceServiceAccount),
        1 => field(pattern(TRUST_DOMAINS)).prop_map(Condition::SourceTrustDomain),
        1 => field(pattern(IDS)).prop_map(Condition::SourcePrincipal),
        1 => field(block()).prop_map(Condition::DestinationIp),
        1 => field(port()).prop_map(Condition::DestinationPort),
        1 => field(pattern(&["a.example", "b.example"])).prop_map(Condition::Sni),
        1 => field(pattern(&["a"])).prop_map(|m| Condition::Auth(vec!["iss".into()], m)),
    ]
}

fn rarely<T: Clone + std::fmt::Debug + 'static>(
    field: impl Strategy<Value = Matches<T>> + 'static,
) -> impl Strategy<Value = Matches<T>> {
    prop_oneof![3 => Just(Matches { any: Vec::new(), not: Vec::new() }), 1 => field]
}

fn field<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Matches<T>> {
    (prop::collection::vec(value.clone(), 0..3), prop::collection::vec(value, 0..2))
        .prop_map(|(any, not)| Matches { any, not })
}

/// One of the texts, whole or cut to a prefix or suffix, or presence.
fn pattern(texts: &'static [&'static str]) -> impl Strategy<Value = Pattern> + Clone {
    let text = (select(texts), any::<prop::sample::Index>()).prop_map(|(text, cut)| (text, cut.index(text.len() + 1)));
    prop_oneof![
        3 => select(texts).prop_map(|t| Pattern::Exact(t.to_owned())),
        1 => text.clone().prop_map(|(t, cut)| Pattern::Prefix(t[..cut].to_owned())),
        1 => text.prop_map(|(t, cut)| Pattern::Suffix(t[cut..].to_owned())),
        1 => Just(Pattern::Present),
    ]
}

fn id() -> impl Strategy<Value = SpiffeId> {
    select(IDS).prop_map(|id| SpiffeId::parse_lenient(id).unwrap())
}

fn account() -> impl Strategy<Value = ServiceAccountRef> + Clone {
    (select(NAMESPACES), select(vec!["a", "b"]))
        .prop_map(|(namespace, name)| ServiceAccountRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn port() -> impl Strategy<Value = u16> + Clone {
    select(vec![80u16, 8080])
}

fn ip() -> impl Strategy<Value = IpAddr> {
    select(vec!["10.0.0.1", "10.1.0.1", "192.168.0.1", "fd00::1", "fd01::1"]).prop_map(|ip| ip.parse().unwrap())
}

fn block() -> impl Strategy<Value = Cidr> + Clone {
    select(vec![("10.0.0.0", 8), ("10.0.0.1", 32), ("10.1.255.255", 9), ("0.0.0.0", 0), ("fd00::", 16), ("::", 0)])
        .prop_map(|(ip, bits)| Cidr::new(ip.parse().unwrap(), bits).unwrap())
}

const IDS: &[&str] = &["td/ns/a/sa/a", "td/ns/a/sa/b", "td/ns/b/sa/a", "other/ns/a/sa/a"];
const NAMESPACES: &[&str] = &["a", "b"];
const TRUST_DOMAINS: &[&str] = &["td", "other"];
const PATHS: &[&str] = &["/a", "/a/b", "/b", "/"];
