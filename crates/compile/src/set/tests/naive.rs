//! A second, naive statement of the decision, for the calls that these tests make.

use weft_mesh::SpiffeId;
use weft_mesh::record::{
    Action, Condition, Enforcement, Matches, MtlsMode, Operation, PathPattern, Pattern, PeerAuthentication, Policy,
    Rule, Source,
};

/// A call. Without a principal it comes in plaintext, without `http` it carries none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) principal: Option<&'a str>,
    pub(super) port: u16,
    /// Method and path.
    pub(super) http: Option<(&'a str, &'a str)>,
}

pub(super) fn admits((peers, policies): &(PeerAuthentication, Vec<Policy>), call: &Call<'_>) -> bool {
    let refused = match peers.at(call.port).mode {
        MtlsMode::Strict => call.principal.is_none(),
        MtlsMode::Disable => call.principal.is_some(),
        MtlsMode::Permissive => false,
    };
    let of = |action| policies.iter().filter(move |p| p.action == action && p.enforcement == Enforcement::Enforced);
    let hits = |policy: &Policy| policy.rules.iter().any(|rule| matches(rule, policy.action, call));
    !refused && !of(Action::Deny).any(hits) && (of(Action::Allow).count() == 0 || of(Action::Allow).any(hits))
}

fn matches(rule: &Rule, action: Action, call: &Call<'_>) -> bool {
    let of_http = |op: &Operation| !(op.hosts.is_empty() && op.methods.is_empty() && op.paths.is_empty());
    if call.http.is_none() && action == Action::Allow && rule.to.iter().any(of_http) {
        return false;
    }
    (rule.from.is_empty() || rule.from.iter().any(|source| from(source, call)))
        && (rule.to.is_empty() || rule.to.iter().any(|operation| to(operation, call)))
        && rule.when.iter().all(|condition| when(condition, call))
}

fn from(source: &Source, call: &Call<'_>) -> bool {
    let id = call.principal.map(|principal| SpiffeId::parse_lenient(principal).unwrap());
    let namespace = id.as_ref().map(SpiffeId::namespace);
    texts(&source.principals, call.principal) && texts(&source.namespaces, namespace)
}

fn to(operation: &Operation, call: &Call<'_>) -> bool {
    let ports = twins(&operation.ports, |port| *port == call.port);
    let Some((method, path)) = call.http else { return ports };
    let paths = twins(&operation.paths, |pattern| match pattern {
        PathPattern::Text(pattern) => text(pattern, Some(path)),
        PathPattern::Template(_) => unreachable!("these tests hold no templates"),
    });
    ports && paths && texts(&operation.methods, Some(method))
}

fn when(condition: &Condition, call: &Call<'_>) -> bool {
    match condition {
        Condition::DestinationPort(ports) => twins(ports, |port| *port == call.port),
        _ => unreachable!("these tests hold no such condition"),
    }
}

fn twins<T>(values: &Matches<T>, hit: impl Fn(&T) -> bool) -> bool {
    (values.any.is_empty() || values.any.iter().any(&hit)) && !values.not.iter().any(&hit)
}

fn texts(values: &Matches<Pattern>, found: Option<&str>) -> bool {
    twins(values, |pattern| text(pattern, found))
}

fn text(pattern: &Pattern, found: Option<&str>) -> bool {
    found.is_some_and(|found| match pattern {
        Pattern::Exact(text) => text == found,
        Pattern::Prefix(text) => found.starts_with(text),
        Pattern::Suffix(text) => found.ends_with(text),
        Pattern::Present => !found.is_empty(),
    })
}
