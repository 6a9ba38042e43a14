//! Whether one rule matches a call (istio-semantics, B3 and B4).
//!
//! Knows nothing of verdicts. An attribute that is missing matches no value: a field that demands
//! one fails, and a field that only excludes some passes. No token is verified yet, so whatever a
//! token says is missing; `weft-compile` refuses policies that ask for it.

use std::net::IpAddr;

use crate::call::{Call, HttpCall, Sni};
use crate::record::{Action, Condition, Matches, Operation, Pattern, Rule, ServiceAccountRef, Source};

/// Whether the rule matches: any of `from`, any of `to`, all of `when`.
///
/// On TCP an ALLOW rule that uses an HTTP field in any alternative never matches; in rules of
/// other actions such a field counts as fulfilled, so that they match more. So it is with a server
/// name that nobody could see.
pub(super) fn matches(rule: &Rule, action: Action, call: &Call<'_>) -> bool {
    if action == Action::Allow && call.http.is_none() && rule.uses_http() {
        return false;
    }
    (rule.from.is_empty() || rule.from.iter().any(|s| source_matches(s, call)))
        && (rule.to.is_empty() || rule.to.iter().any(|o| operation_matches(o, call)))
        && rule.when.iter().all(|c| condition_holds(c, action, call))
}

/// Whether the rule asks for the server name, and all else that it asks for is so.
pub(super) fn hangs_on_sni(rule: &Rule, call: &Call<'_>) -> bool {
    rule.when.iter().any(|c| matches!(c, Condition::Sni(_)))
        && matches(rule, Action::Deny, &Call { sni: Sni::Unseen, ..*call })
}

impl Rule {
    /// Whether any alternative of the rule looks at what only HTTP has (istio-semantics, B4).
    pub fn uses_http(&self) -> bool {
        let of_operation = |o: &Operation| !(o.hosts.is_empty() && o.methods.is_empty() && o.paths.is_empty());
        self.from.iter().any(|s| !s.request_principals.is_empty())
            || self.to.iter().any(of_operation)
            || self.when.iter().any(|c| matches!(c, Condition::Header(..) | Condition::Auth(..)))
    }
}

fn source_matches(source: &Source, call: &Call<'_>) -> bool {
    let peer = call.peer;
    holds(&source.principals, |p| peer.is_some_and(|id| p.matches(id.principal())))
        && holds(&source.namespaces, |p| peer.is_some_and(|id| p.matches(id.namespace())))
        && holds(&source.service_accounts, |account| is_account(account, call))
        && holds(&source.trust_domains, |p| peer.is_some_and(|id| p.matches(id.trust_domain())))
        && holds(&source.ip_blocks, |block| block.contains(call.source_ip))
        && holds(&source.remote_ip_blocks, |block| block.contains(remote_ip(call)))
        && (call.http.is_none() || holds(&source.request_principals, |_| false))
}

fn operation_matches(operation: &Operation, call: &Call<'_>) -> bool {
    holds(&operation.ports, |port| *port == call.destination_port)
        && call.http.is_none_or(|http| {
            holds(&operation.methods, |p| p.matches(http.method))
                && holds(&operation.paths, |p| p.matches(http.path))
                && holds(&operation.hosts, |p| p.matches_ignoring_case(http.authority))
        })
}

fn condition_holds(condition: &Condition, action: Action, call: &Call<'_>) -> bool {
    let peer = call.peer;
    match condition {
        Condition::Header(name, m) => call.http.is_none_or(|http| header_holds(name, m, &http)),
        Condition::SourceIp(m) => holds(m, |block| block.contains(call.source_ip)),
        Condition::RemoteIp(m) => holds(m, |block| block.contains(remote_ip(call))),
        Condition::SourceNamespace(m) => holds(m, |p| peer.is_some_and(|id| p.matches(id.namespace()))),
        Condition::SourceServiceAccount(m) => holds(m, |account| is_account(account, call)),
        Condition::SourceTrustDomain(m) => holds(m, |p| peer.is_some_and(|id| p.matches(id.trust_domain()))),
        Condition::SourcePrincipal(m) => holds(m, |p| peer.is_some_and(|id| p.matches(id.principal()))),
        Condition::DestinationIp(m) => holds(m, |block| block.contains(call.destination_ip)),
        Condition::DestinationPort(m) => holds(m, |port| *port == call.destination_port),
        Condition::Sni(m) => match call.sni {
            Sni::Unseen => action != Action::Allow,
            Sni::Absent => holds(m, |_| false),
            // Host names have no case (RFC 6066, 3).
            Sni::Name(name) => holds(m, |p| p.matches_ignoring_case(name)),
        },
        Condition::Auth(_, m) => call.http.is_none() || holds(m, |_| false),
    }
}

/// One of `any` (if there are any) and none of `not`, where `matches` says what a value does.
fn holds<T>(field: &Matches<T>, matches: impl Fn(&T) -> bool) -> bool {
    (field.any.is_empty() || field.any.iter().any(&matches)) && !field.not.iter().any(&matches)
}

/// Without HTTP no field can vouch for another address than the peer's.
fn remote_ip(call: &Call<'_>) -> IpAddr {
    if call.http.is_some() { call.remote_ip } else { call.source_ip }
}

fn is_account(account: &ServiceAccountRef, call: &Call<'_>) -> bool {
    call.peer.is_some_and(|id| id.namespace() == account.namespace && id.service_account() == account.name)
}

fn header_holds(name: &str, m: &Matches<Pattern>, http: &HttpCall<'_>) -> bool {
    let known = match name {
        ":authority" | "host" => Some(http.authority),
        ":method" => Some(http.method),
        _ => None,
    };
    match known {
        Some(value) => holds(m, |p| !value.is_empty() && p.matches(value)),
        None => field_holds(name, m, http),
    }
}

/// A field of the request: its values are matched as one text, which is made only if there are
/// several.
fn field_holds(name: &str, m: &Matches<Pattern>, http: &HttpCall<'_>) -> bool {
    let mut count = 0;
    let mut first = false;
    http.headers.visit(name, &mut |value| {
        count += 1;
        if count == 1 {
            first = holds(m, |p| p.matches_value(value));
        }
    });
    match count {
        0 if name == ":path" => holds(m, |p| p.matches(http.path)),
        0 => holds(m, |_| false),
        1 => first,
        _ => {
            let joined = joined(name, http);
            holds(m, |p| p.matches_value(&joined))
        }
    }
}

fn joined(name: &str, http: &HttpCall<'_>) -> Vec<u8> {
    // HTTP/2 splits one cookie header into crumbs (RFC 9113, section 8.2.3).
    let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
    let mut text = Vec::new();
    let mut begun = false;
    http.headers.visit(name, &mut |value| {
        if begun {
            text.extend_from_slice(separator);
        }
        begun = true;
        text.extend_from_slice(value);
    });
    text
}
