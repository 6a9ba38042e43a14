//! What is answered: a function of the question, the pod's namespace and the cluster's settings.

use k8s_openapi::api::core::v1::Pod;
use weft_resources::{Problem, Resource, Severity, parse};

use super::review::{Request, Review};
use crate::events::Notice;
use crate::inject::{self, Config, NamespaceMarks, Reason, Verdict};

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

/// Answers about a policy, in the words that a folder's reader hears. What would be compiled to
/// deny more than it says, since a part isn't understood, is refused.
pub(super) fn validation(request: &Request) -> Review {
    if request.object.is_null() {
        return Review::allow(request, Vec::new());
    }
    let found = parse("", request.object.to_string().as_bytes());
    let of = |severity| found.problems.iter().filter(move |it| it.severity == severity).map(words);
    let (errors, notes): (Vec<String>, Vec<String>) = (of(Severity::Error).collect(), of(Severity::Warning).collect());
    if errors.is_empty() && !found.resources.iter().any(is_broken) {
        return Review::allow(request, warnings(&notes));
    }
    Review::deny(request, [errors, notes].concat().join("; "), Vec::new())
}

/// Whether a part of a policy isn't understood.
fn is_broken(resource: &Resource) -> bool {
    let rules = match resource {
        Resource::AuthorizationPolicy(policy) => policy.rules.as_slice(),
        Resource::PeerAuthentication(_) => &[],
    };
    resource.defect().is_some() || rules.iter().any(|rule| rule.defect.is_some())
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
