//! What is wrong, or perhaps not as it was meant, with a cluster's objects, files of them, or both as
//! if the files were applied. Istio's codes are used where their meaning is the same. Pure, but for
//! `look`.

mod message;
mod namespaces;
mod object;
mod policies;
mod services;
mod suppression;
mod workloads;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use weft_mesh::TrustDomain;
use weft_resources::Severity;

pub use self::message::{Code, Message};
pub use self::object::{Object, look, read_file};
pub use self::suppression::Suppression;

/// What is looked at.
#[derive(Debug, Default)]
pub struct Subject {
    /// Objects of the cluster and of files; of two of one name, the file's comes last and counts.
    pub objects: Vec<Object>,
    /// Whether the cluster is among them: what isn't known then doesn't exist.
    pub has_cluster: bool,
    /// The control plane's namespace.
    pub control_namespace: String,
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// Which version of the proxy the cluster's injector gives, if there is one.
    pub proxy_version: Option<String>,
}

/// All messages, the worst first, then by place.
pub fn analyze(subject: &Subject) -> Vec<Message> {
    let objects = effective(&subject.objects);
    let mut messages = Vec::new();
    namespaces::check(&objects, subject, &mut messages);
    policies::check(&objects, subject, &mut messages);
    workloads::check(&objects, subject, &mut messages);
    services::check(&objects, &mut messages);
    let quiet: Vec<&&Object> = objects.iter().filter(|object| object.wants_quiet()).collect();
    messages.retain(|message| !quiet.iter().any(|object| object.suppresses(message)));
    messages
        .sort_by_key(|message| (std::cmp::Reverse(message.level), message.origin.clone(), message.reference.clone()));
    messages.dedup();
    messages
}

/// Whether a namespace is among the objects.
pub fn has_namespace(subject: &Subject, name: &str) -> bool {
    subject.objects.iter().any(|object| object.kind() == "Namespace" && object.name() == name)
}

/// Messages as YAML.
pub fn to_yaml(messages: &[Message]) -> String {
    serde_saphyr::to_string(&messages).unwrap_or_default()
}

/// Whether messages are so bad that somebody should be stopped.
pub fn is_beyond(messages: &[Message], threshold: Severity) -> bool {
    messages.iter().any(|message| message.level >= threshold)
}

/// The objects as they would be with the files applied.
fn effective(objects: &[Object]) -> Vec<&Object> {
    let mut seen = BTreeSet::new();
    // What is to be named by the API server is another each time.
    let is_last = |object: &&Object| object.name().is_empty() || seen.insert(object.key());
    let mut kept: Vec<&Object> = objects.iter().rev().filter(is_last).collect();
    kept.reverse();
    kept
}
