//! What a policy's status says: whether it was understood, whom it selects, and how many of their
//! proxies run it. Pure; time is passed in.

mod scope;
mod write;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use weft_mesh::WorkloadId;
use weft_resources::{Problem, Resource, Selector, Severity};

pub(crate) use self::write::run;

/// One condition (Kubernetes: `metav1.Condition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) status: Truth,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) observed_generation: i64,
    /// RFC 3339.
    pub(crate) last_transition_time: String,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Truth {
    True,
    False,
}

/// A pod, as far as policies concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Following {
    /// It has no proxy: nothing is enforced there.
    Unmeshed,
    /// Its proxy doesn't hold the newest record, or isn't connected.
    Behind,
    /// Its proxy holds the newest record.
    Current,
}

/// A resource, and what was found about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'s> {
    pub(crate) generation: i64,
    /// As it was read; several when nobody can tell which it is.
    pub(crate) resources: &'s [Resource],
    /// Of the resource by itself, and beside others.
    pub(crate) problems: &'s [&'s Problem],
    /// The pods that it selects.
    pub(crate) selected: &'s [(&'s WorkloadId, Following)],
}

/// The conditions of a resource. `now` is RFC 3339; what is as it `was` keeps its time.
pub(crate) fn conditions(subject: Subject<'_>, was: &BTreeMap<String, Value>, now: &str) -> Vec<Condition> {
    let condition = |kind: &'static str, (status, reason, message): (Truth, &'static str, String)| Condition {
        kind,
        status,
        reason,
        message: bounded(message),
        observed_generation: subject.generation,
        last_transition_time: since(was.get(kind), status).unwrap_or(now).to_owned(),
    };
    vec![
        condition("Accepted", accepted(subject)),
        condition("Selected", selected(subject.selected)),
        condition("Enforced", enforced(subject.selected)),
    ]
}

/// Whether a status holds these conditions already.
pub(crate) fn is_told(conditions: &[Condition], was: &BTreeMap<String, Value>) -> bool {
    let same = |condition: &Condition| serde_json::to_value(condition).ok().as_ref() == was.get(condition.kind);
    conditions.iter().all(same)
}

/// Whether a resource selects a workload with these labels. What can't be told selects all in scope.
pub(crate) fn selects(
    resource: &Resource,
    root_namespace: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let own = resource.meta().namespace.as_deref();
    let in_scope = own.is_none_or(|own| own == namespace || own == root_namespace);
    in_scope
        && !governs_nobody(resource, root_namespace)
        && selector(resource).is_none_or(|selector| selector.selects(labels))
}

/// Whether a resource is without effect on workloads, as the compiler has it: an AuthorizationPolicy for
/// gateways, or a PeerAuthentication of the whole mesh that selects some of it.
fn governs_nobody(resource: &Resource, root_namespace: &str) -> bool {
    match resource {
        Resource::AuthorizationPolicy(policy) => !policy.target_refs.is_empty() && policy.defect.is_none(),
        Resource::PeerAuthentication(policy) => {
            let is_the_meshs = policy.meta.namespace.as_deref() == Some(root_namespace);
            is_the_meshs && policy.selector.as_ref().is_some_and(|selector| !selector.is_empty())
        }
    }
}

fn selector(resource: &Resource) -> Option<&Selector> {
    match resource {
        Resource::AuthorizationPolicy(policy) => policy.selector.as_ref(),
        Resource::PeerAuthentication(policy) => policy.selector.as_ref(),
    }
}

fn accepted(subject: Subject<'_>) -> (Truth, &'static str, String) {
    let problems = subject.problems;
    if problems.is_empty() {
        return (Truth::True, "Understood", "all of it is understood".to_owned());
    }
    let message = problems.iter().map(|problem| words(problem)).collect::<Vec<_>>().join("; ");
    let is_broken = subject.resources.iter().any(|resource| resource.defects().next().is_some());
    match problems.iter().map(|problem| problem.severity).max() {
        _ if is_broken => (Truth::False, "NotUnderstood", message),
        Some(Severity::Error) => (Truth::False, "NotUnderstood", message),
        Some(Severity::Warning) => (Truth::True, "Warning", message),
        Some(Severity::Info) | None => (Truth::True, "Understood", message),
    }
}

/// A problem without the name of the resource at which the reader looks.
fn words(problem: &Problem) -> String {
    let text = problem.to_string();
    let own = format!("{}: ", problem.file);
    text.strip_prefix(&own).map(str::to_owned).unwrap_or(text)
}

fn selected(pods: &[(&WorkloadId, Following)]) -> (Truth, &'static str, String) {
    match pods.len() {
        0 => (Truth::False, "NoPods", "it selects no pod that runs".to_owned()),
        count => {
            (Truth::True, "Pods", format!("it selects {}: {}", counted(count, "pod"), names(pods.iter().map(|p| p.0))))
        }
    }
}

fn enforced(pods: &[(&WorkloadId, Following)]) -> (Truth, &'static str, String) {
    let of = |wanted: Following| pods.iter().filter(move |(_, following)| *following == wanted).map(|(id, _)| *id);
    let (unmeshed, behind) = (of(Following::Unmeshed).count(), of(Following::Behind).count());
    let proxies = pods.len() - unmeshed;
    let mut message = format!("{} of {} run it", proxies - behind, counted(proxies, "proxy"));
    if behind > 0 {
        message += &format!("; behind: {}", names(of(Following::Behind)));
    }
    if unmeshed > 0 {
        message += &format!("; without a proxy, so not enforced: {}", names(of(Following::Unmeshed)));
    }
    match (pods.len(), behind, unmeshed) {
        (0, ..) => (Truth::False, "NoPods", "it selects no pod that runs".to_owned()),
        (_, 0, 0) => (Truth::True, "AllProxies", message),
        (_, 0, _) => (Truth::False, "PodsWithoutProxy", message),
        _ => (Truth::False, "ProxiesBehind", message),
    }
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, what) => format!("1 {what}"),
        (count, "proxy") => format!("{count} proxies"),
        (count, what) => format!("{count} {what}s"),
    }
}

/// The first names, and how many more there are.
fn names<'n>(ids: impl Iterator<Item = &'n WorkloadId>) -> String {
    let all: Vec<&WorkloadId> = ids.collect();
    let first: Vec<&str> = all.iter().take(MAX_NAMES).map(|id| id.as_str()).collect();
    match all.len().saturating_sub(MAX_NAMES) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn bounded(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    }
}

/// Since when a condition has this status.
fn since(was: Option<&Value>, status: Truth) -> Option<&str> {
    let was = was.filter(|was| was["status"] == serde_json::to_value(status).unwrap_or_default())?;
    was["lastTransitionTime"].as_str()
}

const MAX_NAMES: usize = 3;
/// An API server takes 32768 bytes; nobody reads so far.
const MAX_MESSAGE_CHARS: usize = 1024;

#[cfg(test)]
mod tests;
