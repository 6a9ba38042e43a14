//! What is answered: a function of the question, the pod's namespace and the cluster's settings.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use weft_compile::{PolicySet, Settings};
use weft_resources::{Problem, Resource, Severity};

use super::review::{Request, Review};
use crate::events::Notice;
use crate::inject::{self, Config, NamespaceMarks, Reason, Verdict};
use crate::model::policy::{Policy, PolicyKind};

/// An answer about a pod, and what it means to others.
#[derive(Debug)]
pub(super) struct Injection {
    pub(super) review: Review,
    /// Why the pod gets no proxy; none when it gets one.
    pub(super) skipped: Vec<Reason>,
    /// What the pod's owner is told.
    pub(super) notice: Option<Notice>,
    /// The kind of what made the pod, in Linkerd's words.
    pub(super) owner_kind: &'static str,
}

/// Whether a question is about a pod that is made; all else passes.
pub(super) fn is_new_pod(request: &Request) -> bool {
    request.kind.kind == "Pod" && request.kind.group.is_empty() && request.operation == "CREATE"
}

/// Answers about a pod.
///
/// # Errors
/// When the object is no pod.
pub(super) fn injection(request: &Request, namespace: &NamespaceMarks, config: &Config) -> Result<Injection, String> {
    let wrong = |error: serde_json::Error| format!("expected a pod, found an object that isn't one: {error}");
    let pod: Pod = serde_json::from_value(request.object.clone()).map_err(wrong)?;
    let owner_kind = owner_kind(&pod);
    let settings = match inject::decide(namespace, &pod, &config.namespace) {
        Verdict::Inject(settings) => settings,
        Verdict::Skip(skipped) => {
            let notice = Notice::skipped(&pod, &namespace.name, &skipped);
            return Ok(Injection { review: Review::allow(request, Vec::new()), skipped, notice, owner_kind });
        }
    };
    let mut patch = inject::patch(&request.object, &settings, config);
    if let Some(level) = inject::refusing_level(namespace) {
        patch.remarks.insert(0, refused_later(&namespace.name, level));
    }
    let text = serde_json::to_vec(&patch.operations).map_err(wrong)?;
    let notice = Notice::injected(&pod, &namespace.name, &patch.remarks);
    let review = Review::change(request, text, warnings(&patch.remarks));
    Ok(Injection { review, skipped: Vec::new(), notice, owner_kind })
}

/// Said beside the API server's own refusal, which doesn't say what to do.
fn refused_later(namespace: &str, level: &str) -> String {
    format!(
        "the namespace's Pod Security level {level} refuses weft-init's NET_ADMIN, so the pod isn't made: \
         kubectl label --overwrite namespace {namespace} {}=privileged",
        inject::SECURITY_KEY
    )
}

/// A ReplicaSet that says of which template it is belongs to a Deployment.
fn owner_kind(pod: &Pod) -> &'static str {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else { return "pod" };
    let is_templated = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("pod-template-hash"));
    match owner.kind.as_str() {
        "ReplicaSet" if is_templated => "deployment",
        "ReplicaSet" => "replicaset",
        "StatefulSet" => "statefulset",
        "DaemonSet" => "daemonset",
        "ReplicationController" => "replicationcontroller",
        "Job" => "job",
        _ => "other",
    }
}

/// Answers about a policy, in the words that a folder's reader hears. One that isn't understood is refused,
/// but for what stands in it already: nobody could delete or mend one bit by bit that came past this webhook.
/// What is understood and can't be enforced is stored with a warning, since until it can be, it closes.
pub(super) fn validation(request: &Request, trust_domain: &str) -> Review {
    let Some(found) = judged(request, &request.object) else { return Review::allow(request, Vec::new()) };
    let stood = judged(request, &request.old_object).map(|old| old.errors).unwrap_or_default();
    if found.errors.iter().any(|error| !stood.contains(error)) {
        return Review::deny(request, [found.errors, found.notes].concat().join("; "), Vec::new());
    }
    let settings = Settings { trust_domain: trust_domain.parse().unwrap_or_default(), ..Settings::default() };
    let (_, problems) = PolicySet::new(&settings, &found.resources);
    let compiled = problems.iter().filter(|problem| problem.severity > Severity::Info).map(words);
    let remarks: Vec<String> = found.errors.into_iter().chain(found.notes).chain(compiled).collect();
    Review::allow(request, warnings(&remarks))
}

/// What is thought of a policy.
struct Judged {
    resources: Vec<Resource>,
    /// What isn't understood.
    errors: Vec<String>,
    /// What is, and perhaps not meant so.
    notes: Vec<String>,
}

/// Reads a policy as the controller does; `None` when there is none.
fn judged(request: &Request, object: &Value) -> Option<Judged> {
    let kind = PolicyKind::ALL.into_iter().find(|kind| kind.as_str() == request.kind.kind)?;
    if object.is_null() {
        return None;
    }
    let parsed = match DynamicObject::deserialize(object) {
        Ok(object) => Policy::read(kind, &object).parsed,
        Err(error) => {
            let errors = vec![format!("expected a policy, found an object that isn't one: {error}")];
            return Some(Judged { errors, notes: Vec::new(), resources: Vec::new() });
        }
    };
    let told = parsed.problems.iter().filter(|problem| problem.severity > Severity::Info);
    let (mut errors, notes): (Vec<_>, Vec<_>) = told.partition(|problem| parsed.is_defect(problem));
    errors.sort_by_key(|problem| Reverse(problem.severity));
    let words = |problems: Vec<&Problem>| problems.into_iter().map(words).collect();
    Some(Judged { errors: words(errors), notes: words(notes), resources: parsed.resources })
}

/// A problem without file and line, which an object has none of.
fn words(problem: &Problem) -> String {
    match &problem.field {
        Some(field) => format!("{field}: {}", problem.message),
        None => problem.message.clone(),
    }
}

/// Warnings that the API server passes on: it cuts what is longer, or many.
fn warnings(remarks: &[String]) -> Vec<String> {
    let cut = |remark: &String| remark.chars().filter(|c| !c.is_control()).take(MAX_WARNING_CHARACTERS).collect();
    remarks.iter().take(MAX_WARNINGS).map(cut).collect()
}

const MAX_WARNINGS: usize = 16;
/// The API server drops warnings once they take 4 KiB together.
const MAX_WARNING_CHARACTERS: usize = 240;

#[cfg(test)]
pub(super) mod tests;
