//! Policies: whether they are understood, select anybody, and name what exists.

use std::collections::BTreeSet;

use serde_json::Value;
use weft_compile::{PolicySet, Settings};
use weft_resources::{Problem, Severity};

use super::object::{of_problem, policy_kind};
use super::workloads::{Workload, workloads};
use super::{Code, Message, Object, Subject};

pub(super) fn check(objects: &[&Object], subject: &Subject, messages: &mut Vec<Message>) {
    let settings = Settings { trust_domain: subject.trust_domain.clone(), ..Settings::default() };
    let policies: Vec<&Object> =
        objects.iter().copied().filter(|object| policy_kind(&object.value).is_some()).collect();
    let workloads = workloads(objects);
    let namespaces: BTreeSet<&str> =
        objects.iter().filter(|object| object.kind() == "Namespace").map(|object| object.name()).collect();
    for policy in &policies {
        if targets(policy) {
            messages.push(Message::new(Code::IneffectivePolicy, policy, FOR_GATEWAYS));
        } else if policy.namespace() != settings.root_namespace && (subject.has_cluster || !workloads.is_empty()) {
            messages.extend(without_workloads(policy, &workloads));
            messages.extend(unguarded(policy, &workloads));
        }
        if subject.has_cluster {
            messages.extend(unknown_namespaces(policy, &namespaces));
        }
        messages.extend(negative_conditions(policy));
    }
    messages
        .extend(subject.objects.iter().enumerate().filter_map(|(at, object)| twice(object, &subject.objects[..at])));
    together(&policies, &settings, messages);
}

/// What the policies' reader says, and what only all of them together show.
fn together(policies: &[&Object], settings: &Settings, messages: &mut Vec<Message>) {
    let alone = policies.iter().flat_map(|policy| &policy.policy.problems);
    messages.extend(alone.filter(matters).map(of_problem));
    let resources: Vec<_> = policies.iter().flat_map(|policy| policy.policy.resources.clone()).collect();
    let (_, problems) = PolicySet::new(settings, &resources);
    messages.extend(problems.iter().filter(matters).map(of_problem));
}

/// A policy that stands in files twice: a mesh that follows them takes the later one for broken.
fn twice(object: &Object, before: &[Object]) -> Option<Message> {
    let is_same = |other: &&Object| !other.reference.is_empty() && other.key() == object.key();
    policy_kind(&object.value).filter(|_| !object.reference.is_empty())?;
    let first = before.iter().find(is_same)?;
    let text = format!("it stands in {} already: the last one that is applied would count", first.reference);
    Some(Message::new(Code::SchemaValidationError, object, text))
}

/// Whether a policy names gateways or services in place of workloads.
fn targets(policy: &Object) -> bool {
    policy.value["spec"]["targetRefs"].as_array().is_some_and(|references| !references.is_empty())
}

fn matters(problem: &&Problem) -> bool {
    problem.severity > Severity::Info
}

fn selects(policy: &Object, workload: &Workload<'_>) -> bool {
    let labels = policy.value["spec"]["selector"]["matchLabels"].as_object();
    let has = |key: &str, value: &Value| workload.labels.get(key) == value.as_str().as_ref();
    workload.namespace == policy.namespace()
        && labels.is_none_or(|labels| labels.iter().all(|(key, value)| has(key, value)))
}

fn without_workloads(policy: &Object, workloads: &[Workload<'_>]) -> Option<Message> {
    let is_inhabited = workloads.iter().any(|workload| workload.namespace == policy.namespace());
    let text = match (is_inhabited, workloads.iter().any(|workload| selects(policy, workload))) {
        (_, true) => return None,
        (false, false) => format!("there are no pods in its namespace {}", policy.namespace()),
        (true, false) => "its selector matches no pods: compare it with kubectl get pods --show-labels".to_owned(),
    };
    Some(Message::new(Code::NoMatchingWorkloadsFound, policy, text))
}

/// A policy that selects running pods, of which none has a proxy that could enforce it.
fn unguarded(policy: &Object, workloads: &[Workload<'_>]) -> Option<Message> {
    let runs = |workload: &&Workload<'_>| workload.runs() && selects(policy, workload);
    let selected: Vec<&Workload<'_>> = workloads.iter().filter(runs).collect();
    if selected.is_empty() || selected.iter().any(|workload| workload.has_proxy()) {
        return None;
    }
    let gateway = selected.iter().find_map(|workload| workload.labels.get(GATEWAY_LABEL));
    let selector = policy.value["spec"]["selector"]["matchLabels"].as_object();
    Some(match gateway.filter(|_| selector.is_some_and(|labels| !labels.is_empty())) {
        Some(gateway) => {
            let text = format!(
                "it selects the pods of the Gateway {gateway} by labels, and no proxy of the mesh stands before them: \
                 name the Gateway in targetRefs, for whoever runs it"
            );
            Message::new(Code::IneffectiveSelector, policy, text)
        }
        None => {
            let count = selected.len();
            let text = format!(
                "none of the {count} pods that it selects has a proxy, so that nothing enforces it: ask for proxies, and \
                 restart what made the pods"
            );
            Message::new(Code::IneffectivePolicy, policy, text)
        }
    })
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

const FOR_GATEWAYS: &str = "it has targetRefs, so it governs gateways and waypoints and no workload: nothing of the mesh \
                            enforces it; select pods by labels instead";
/// What the controllers of Gateway API write on a gateway's pods.
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
