//! Policies: whether they are understood, select anybody, and name what exists.

use std::collections::BTreeSet;

use serde_json::Value;
use weft_compile::{PolicySet, Settings};
use weft_resources::{Problem, Severity};

use super::object::{of_problem, policy_kind};
use super::workloads::{Workload, workloads};
use super::{Code, Message, Object, Subject};

pub(super) fn check(objects: &[&Object], subject: &Subject, messages: &mut Vec<Message>) {
    let settings = Settings::default();
    let policies: Vec<&Object> =
        objects.iter().copied().filter(|object| policy_kind(&object.value).is_some()).collect();
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

/// What the cluster's policies' reader says, and what only all of them together show.
fn together(policies: &[&Object], settings: &Settings, messages: &mut Vec<Message>) {
    let alone = policies.iter().flat_map(|policy| &policy.policy.problems);
    messages.extend(alone.filter(matters).map(of_problem));
    let resources: Vec<_> = policies.iter().flat_map(|policy| policy.policy.resources.clone()).collect();
    let (_, problems) = PolicySet::new(settings, &resources);
    messages.extend(problems.iter().filter(matters).map(of_problem));
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
