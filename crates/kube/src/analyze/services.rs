//! Services: whether their ports say what is spoken, and whether two say different things of one pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weft_mesh::record::AppProtocol;

use super::workloads::{Workload, workloads};
use super::{Code, Message, Object};
use crate::model::declared;

pub(super) fn check(objects: &[&Object], messages: &mut Vec<Message>) {
    let services: Vec<&Object> = objects.iter().copied().filter(|object| object.kind() == "Service").collect();
    messages.extend(services.iter().flat_map(|service| undeclared(service)));
    for (one, other) in pairs(&services, &workloads(objects)) {
        messages.extend(disagreements(services[one], services[other]));
    }
}

/// The Services that lead to the same pods, two at a time. Of a large cluster's each pod is looked at once, with the
/// Services of its own namespace.
fn pairs(services: &[&Object], workloads: &[Workload<'_>]) -> BTreeSet<(usize, usize)> {
    let mut of_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, service) in services.iter().enumerate() {
        of_namespace.entry(service.namespace()).or_default().push(at);
    }
    let mut pairs = BTreeSet::new();
    for workload in workloads {
        let near = of_namespace.get(workload.namespace).into_iter().flatten().copied();
        let leading: Vec<usize> = near.filter(|at| selects(services[*at], workload)).collect();
        for (at, one) in leading.iter().enumerate() {
            pairs.extend(leading[at + 1..].iter().map(|other| (*one, *other)));
        }
    }
    pairs
}

fn undeclared(service: &Object) -> Vec<Message> {
    let spec = &service.value["spec"];
    if spec["type"] == "ExternalName" || service.namespace() == "kube-system" {
        return Vec::new();
    }
    let message = |port: &Value| {
        let name = port["name"].as_str().unwrap_or_default();
        let number = &port["port"];
        let text = format!(
            "the port {number} ({name:?}) doesn't say what is spoken, so that the first bytes tell: name it http, grpc or \
             tcp, or set appProtocol"
        );
        Message::new(Code::PortNameIsNotUnderNamingConvention, service, text)
    };
    ports(service).filter(|port| spoken(port) == AppProtocol::Detect).map(message).collect()
}

fn disagreements(service: &Object, other: &Object) -> Vec<Message> {
    let by_target = |service: &Object| -> BTreeMap<String, Value> {
        ports(service).map(|port| (target(port), port.clone())).collect()
    };
    let (own, others) = (by_target(service), by_target(other));
    let mut messages = Vec::new();
    for (target, port) in &own {
        let Some(theirs) = others.get(target) else { continue };
        let name = other.title();
        // Whoever says nothing contradicts nobody.
        let said = [spoken(port), spoken(theirs)];
        if said[0] != said[1] && !said.contains(&AppProtocol::Detect) {
            let text = format!("it and {name} lead to the same pods' port {target} with different protocols");
            messages.push(Message::new(Code::DeploymentAssociatedToMultipleServices, service, text));
        } else if port["port"] != theirs["port"] {
            let text = format!("it and {name} lead to the same pods' port {target} from different ports");
            messages.push(Message::new(Code::DeploymentConflictingPorts, service, text));
        }
    }
    messages
}

fn selects(service: &Object, workload: &Workload<'_>) -> bool {
    let Some(selector) = service.value["spec"]["selector"].as_object().filter(|labels| !labels.is_empty()) else {
        return false;
    };
    service.namespace() == workload.namespace
        && selector.iter().all(|(key, value)| workload.labels.get(key.as_str()).copied() == value.as_str())
}

fn ports(service: &Object) -> impl Iterator<Item = &Value> {
    let ports = service.value["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
}

fn spoken(port: &Value) -> AppProtocol {
    declared(port["appProtocol"].as_str(), port["name"].as_str())
}

fn target(port: &Value) -> String {
    match &port["targetPort"] {
        Value::Null => port["port"].to_string(),
        Value::String(name) => name.clone(),
        number => number.to_string(),
    }
}
