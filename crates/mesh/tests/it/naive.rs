//! A second statement of the rules, as literal and as slow as it can be: what the reference says,
//! sentence by sentence. It shares no code with `decide`.

use std::net::IpAddr;

use weft_mesh::call::{Call, HttpCall, Sni};
use weft_mesh::record::{
    Action, Cidr, Condition, Enforcement, Inbound, Matches, MtlsMode, Operation, PathPattern, Pattern, Policy, Rule,
    Source,
};

/// What a call comes to. Rules are named by policy and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Strict,
    Denied(usize, usize),
    Allowed(usize, usize),
    NothingAllows,
    NothingForbids,
}

impl Outcome {
    pub(crate) fn allows(&self) -> bool {
        matches!(self, Self::Allowed(..) | Self::NothingForbids)
    }
}

pub(crate) fn decide(inbound: &Inbound, call: &Call<'_>) -> Outcome {
    let authentication = &inbound.peer_authentication;
    let mode = match authentication.ports.get(&call.destination_port) {
        Some(own) => own.mode,
        None => authentication.default.mode,
    };
    let plaintext = Call { peer: None, ..*call };
    match (mode, call.peer.is_some()) {
        (MtlsMode::Strict, false) => Outcome::Strict,
        // Plaintext only: whoever has an identity all the same needs to be admitted twice.
        (MtlsMode::Disable, true) if by_policies(inbound, call).allows() => by_policies(inbound, &plaintext),
        _ => by_policies(inbound, call),
    }
}

fn by_policies(inbound: &Inbound, call: &Call<'_>) -> Outcome {
    let of = |action: Action| -> Vec<(usize, Policy)> {
        let policies = inbound.policies.iter().cloned().enumerate();
        policies.filter(|(_, p)| p.action == action && p.enforcement == Enforcement::Enforced).collect()
    };
    for (at, policy) in of(Action::Deny) {
        for (place, rule) in policy.rules.iter().enumerate() {
            if deny_rule_matches(rule, call) {
                return Outcome::Denied(at, place);
            }
        }
    }
    if of(Action::Allow).is_empty() {
        return Outcome::NothingForbids;
    }
    for (at, policy) in of(Action::Allow) {
        for (place, rule) in policy.rules.iter().enumerate() {
            if allow_rule_matches(rule, call) {
                return Outcome::Allowed(at, place);
            }
        }
    }
    Outcome::NothingAllows
}

/// The rule loses first what can't be seen, and then it is any other rule.
pub(crate) fn deny_rule_matches(rule: &Rule, call: &Call<'_>) -> bool {
    rule_matches(&without_unseen(rule, call), call)
}

/// A rule that loses anything is lost.
fn allow_rule_matches(rule: &Rule, call: &Call<'_>) -> bool {
    without_unseen(rule, call) == *rule && rule_matches(rule, call)
}

/// On TCP there are no HTTP fields; and a server name may be unseen.
fn without_unseen(rule: &Rule, call: &Call<'_>) -> Rule {
    let mut seen = if call.http.is_none() { without_http(rule) } else { rule.clone() };
    if call.sni == Sni::Unseen {
        seen.when.retain(|c| !matches!(c, Condition::Sni(_)));
    }
    seen
}

fn without_http(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    for source in &mut rule.from {
        source.request_principals = Matches::default();
    }
    for operation in &mut rule.to {
        *operation = Operation { ports: operation.ports.clone(), ..Operation::default() };
    }
    rule.when.retain(|c| !matches!(c, Condition::Header(..) | Condition::Auth(..)));
    rule
}

fn rule_matches(rule: &Rule, call: &Call<'_>) -> bool {
    let from = rule.from.iter().filter(|s| source_matches(s, call)).count();
    let to = rule.to.iter().filter(|o| operation_matches(o, call)).count();
    let when = rule.when.iter().filter(|c| condition_holds(c, call)).count();
    (rule.from.is_empty() || from > 0) && (rule.to.is_empty() || to > 0) && when == rule.when.len()
}

fn source_matches(s: &Source, call: &Call<'_>) -> bool {
    let fields = [
        field(&s.principals, &part(call, Part::Principal), text),
        field(&s.namespaces, &part(call, Part::Namespace), text),
        field(&s.trust_domains, &part(call, Part::TrustDomain), text),
        field(&s.service_accounts, &part(call, Part::Account), |a, v: &String| {
            format!("{}/{}", a.namespace, a.name) == *v
        }),
        field(&s.ip_blocks, &Some(call.source_ip), lies_in),
        field(&s.remote_ip_blocks, &Some(remote(call)), lies_in),
        field(&s.request_principals, &None::<String>, |_, _| true),
    ];
    fields.iter().all(|f| *f)
}

fn operation_matches(o: &Operation, call: &Call<'_>) -> bool {
    let of = |get: fn(&HttpCall<'_>) -> String| call.http.as_ref().map(get);
    let lower = |pattern: &Pattern, value: &String| text(&lower_case(pattern), &value.to_ascii_lowercase());
    let fields = [
        field(&o.ports, &Some(call.destination_port), |p, v| p == v),
        field(&o.hosts, &of(|h| h.authority.to_owned()), lower),
        field(&o.methods, &of(|h| h.method.to_owned()), text),
        field(&o.paths, &of(|h| h.path.to_owned()), |p, v: &String| match p {
            PathPattern::Text(pattern) => text(pattern, v),
            PathPattern::Template(template) => template_matches(template, v),
        }),
    ];
    fields.iter().all(|f| *f)
}

fn condition_holds(condition: &Condition, call: &Call<'_>) -> bool {
    match condition {
        Condition::Header(name, m) => field(m, &header(name, call), |pattern, value: &String| {
            // A header that is there but empty is present.
            *pattern == Pattern::Present || text(pattern, value)
        }),
        Condition::SourceIp(m) => field(m, &Some(call.source_ip), lies_in),
        Condition::RemoteIp(m) => field(m, &Some(remote(call)), lies_in),
        Condition::SourceNamespace(m) => field(m, &part(call, Part::Namespace), text),
        Condition::SourceServiceAccount(m) => {
            field(m, &part(call, Part::Account), |a, v: &String| format!("{}/{}", a.namespace, a.name) == *v)
        }
        Condition::SourceTrustDomain(m) => field(m, &part(call, Part::TrustDomain), text),
        Condition::SourcePrincipal(m) => field(m, &part(call, Part::Principal), text),
        Condition::DestinationIp(m) => field(m, &Some(call.destination_ip), lies_in),
        Condition::DestinationPort(m) => field(m, &Some(call.destination_port), |p, v| p == v),
        Condition::Sni(m) => {
            let name = if let Sni::Name(name) = call.sni { Some(name.to_lowercase()) } else { None };
            field(m, &name, |pattern, value| text(&lower_case(pattern), value))
        }
        Condition::Auth(_, m) => field(m, &None::<String>, text),
    }
}

/// "All present fields AND; inside a field any value; `notX` true when no value matches."
fn field<T, V>(m: &Matches<T>, value: &Option<V>, matches: impl Fn(&T, &V) -> bool) -> bool {
    let hits = |list: &[T]| list.iter().filter(|t| value.as_ref().is_some_and(|v| matches(t, v))).count();
    let wanted = if m.any.is_empty() { true } else { hits(&m.any) > 0 };
    let unwanted = hits(&m.not) > 0;
    wanted && !unwanted
}

enum Part {
    Principal,
    Namespace,
    Account,
    TrustDomain,
}

/// A part of the peer's ID, cut out of its text.
fn part(call: &Call<'_>, part: Part) -> Option<String> {
    let uri = call.peer?.as_str();
    // spiffe: / "" / trust domain / ns / namespace / sa / account
    let cut: Vec<&str> = uri.split('/').collect();
    Some(match part {
        Part::Principal => uri.replacen("spiffe://", "", 1),
        Part::Namespace => cut[4].to_owned(),
        Part::Account => format!("{}/{}", cut[4], cut[6]),
        Part::TrustDomain => cut[2].to_owned(),
    })
}

fn remote(call: &Call<'_>) -> IpAddr {
    if call.http.is_none() { call.source_ip } else { call.remote_ip }
}

/// All values of a header in one text.
fn header(name: &str, call: &Call<'_>) -> Option<String> {
    let http = call.http.as_ref()?;
    match name {
        ":authority" | "host" => return Some(http.authority.to_owned()).filter(|a| !a.is_empty()),
        ":method" => return Some(http.method.to_owned()),
        _ => {}
    }
    let mut values = Vec::new();
    http.headers.visit(name, &mut |value| values.push(String::from_utf8(value.to_vec()).unwrap()));
    match (values.is_empty(), name) {
        (true, ":path") => Some(http.path.to_owned()),
        (true, _) => None,
        (false, "cookie") => Some(values.join("; ")),
        (false, _) => Some(values.join(",")),
    }
}

fn text(pattern: &Pattern, value: &String) -> bool {
    match pattern {
        Pattern::Present => !value.is_empty(),
        Pattern::Exact(whole) => value == whole,
        Pattern::Prefix(start) => value.strip_prefix(start.as_str()).is_some(),
        Pattern::Suffix(end) => value.strip_suffix(end.as_str()).is_some(),
    }
}

fn lower_case(pattern: &Pattern) -> Pattern {
    match pattern {
        Pattern::Present => Pattern::Present,
        Pattern::Exact(whole) => Pattern::Exact(whole.to_ascii_lowercase()),
        Pattern::Prefix(start) => Pattern::Prefix(start.to_ascii_lowercase()),
        Pattern::Suffix(end) => Pattern::Suffix(end.to_ascii_lowercase()),
    }
}

/// Bit by bit.
fn lies_in(block: &Cidr, ip: &IpAddr) -> bool {
    let bits = |ip: IpAddr| -> String {
        match ip {
            IpAddr::V4(v4) => v4.octets().iter().map(|o| format!("{o:08b}")).collect(),
            IpAddr::V6(v6) => v6.octets().iter().map(|o| format!("{o:08b}")).collect(),
        }
    };
    let (start, whole) = (bits(block.address()), bits(*ip));
    start.len() == whole.len() && whole.starts_with(&start[..usize::from(block.bits())])
}

/// Tries every way to give the operators their texts.
pub(crate) fn template_matches(template: &str, path: &str) -> bool {
    let ends = || (0..=path.len()).filter(|end| path.is_char_boundary(*end));
    if template.is_empty() {
        path.is_empty()
    } else if let Some(rest) = template.strip_prefix("{**}") {
        ends().any(|end| template_matches(rest, &path[end..]))
    } else if let Some(rest) = template.strip_prefix("{*}") {
        ends().any(|end| end > 0 && !path[..end].contains('/') && template_matches(rest, &path[end..]))
    } else {
        let first = template.chars().next().unwrap();
        path.starts_with(first) && template_matches(&template[first.len_utf8()..], &path[first.len_utf8()..])
    }
}
