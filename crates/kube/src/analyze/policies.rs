//! Policies: whether they are understood, select anybody, and name what exists.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;
use serde_json::Value;
use weft_compile::{PolicySet, Settings};
use weft_resources::{Problem, Severity};

use super::object::{of_problem, policy_kind};
use super::workloads::{Workload, workloads};
use super::{Code, Message, Object, Subject};
use crate::model::policy::Policy;

pub(super) fn check(objects: &[&Object], subject: &Subject, messages: &mut Vec<Message>) {
    let settings = Settings::default();
    let policies: Vec<&Object> = objects.iter().copied().filter(|object| policy_kind(object).is_some()).collect();
    let workloads = workloads(objects);
    let namespaces: BTreeSet<&str> =
        objects.iter().filter(|object| object.kind() == "Namespace").map(|object| object.name()).collect();
    for policy in &policies {
        if policy.namespace() != settings.root_namespace && (subject.has_cluster || !workloads.is_empty()) {
            messages.extend(without_workloads(policy, &workloads));
        }
        if subject.has_cluster {
            messages.extend(unknown_namespaces(policy, &namespaces));
        }
        messages.extend(negative_conditions(policy));
    }
    together(&policies, &settings, messages);
}

/// What each policy's reader says, where no file's reader has said it, and what only all of them show.
fn together(policies: &[&Object], settings: &Settings, messages: &mut Vec<Message>) {
    let mut resources = Vec::new();
    let mut references: BTreeMap<String, &str> = BTreeMap::new();
    for policy in policies {
        let Some(kind) = policy_kind(policy) else { continue };
        let Ok(object) = serde_json::from_value::<DynamicObject>(policy.value.clone()) else { continue };
        let parsed = Policy::read(kind, &object).parsed;
        references.insert(policy.title(), &policy.reference);
        if policy.reference.is_empty() {
            messages.extend(parsed.problems.iter().filter(matters).map(of_problem));
        }
        resources.extend(parsed.resources);
    }
    let (_, problems) = PolicySet::new(settings, &resources);
    for problem in problems.iter().filter(matters) {
        let mut message = of_problem(problem);
        message.reference = references.get(&message.origin).copied().unwrap_or_default().to_owned();
        messages.push(message);
    }
}

fn matters(problem: &&Problem) -> bool {
    problem.severity > Severity::Info
}

fn without_workloads(policy: &Object, workloads: &[Workload<'_>]) -> Option<Message> {
    let labels = policy.value["spec"]["selector"]["matchLabels"].as_object();
    let own = || workloads.iter().filter(|workload| workload.namespace == policy.namespace());
    let has = |workload: &Workload<'_>, key: &str, value: &Value| workload.labels.get(key) == value.as_str().as_ref();
    let selects = |workload: &Workload<'_>| {
        labels.is_none_or(|labels| labels.iter().all(|(key, value)| has(workload, key, value)))
    };
    let text = match (own().next().is_some(), own().any(selects)) {
        (_, true) => return None,
        (false, false) => format!("there are no pods in its namespace {}", policy.namespace()),
        (true, false) => "its selector matches no pods: compare it with kubectl get pods --show-labels".to_owned(),
    };
    Some(Message::new(Code::NoMatchingWorkloadsFound, policy, text))
}

fn unknown_namespaces(policy: &Object, known: &BTreeSet<&str>) -> Vec<Message> {
    let rules = policy.value["spec"]["rules"].as_array().into_iter().flatten();
    let sources = rules.filter_map(|rule| rule["from"].as_array()).flatten();
    let named = sources.filter_map(|from| from["source"]["namespaces"].as_array()).flatten();
    let exact = named.filter_map(Value::as_str).filter(|name| !name.contains('*'));
    let message = |name: &str| {
        let text = format!("a rule admits callers of the namespace {name:?}, which there isn't");
        Message::new(Code::ReferencedResourceNotFound, policy, text)
    };
    exact.filter(|name| !known.contains(name)).map(message).collect()
}

fn negative_conditions(policy: &Object) -> Vec<Message> {
    let conditions = policy.value["status"]["conditions"].as_array().into_iter().flatten();
    let negative = conditions.filter(|condition| condition["status"] == "False");
    let text = |key: &str, condition: &Value| condition[key].as_str().unwrap_or_default().to_owned();
    let message = |condition: &Value| {
        let (kind, reason, told) = (text("type", condition), text("reason", condition), text("message", condition));
        Message::new(Code::NegativeConditionStatus, policy, format!("its condition {kind} is False ({reason}): {told}"))
    };
    negative.map(message).collect()
}
