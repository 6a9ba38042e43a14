//! Ports that are said to be opaque: a Service and the pods behind it should say the same, since callers
//! go by the one and the called by the other.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerPort, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::control_plane::name;
use super::observed::Observed;
use super::report::{Finding, Problem, Report};
use crate::model::pod::OPAQUE_PORTS;
use crate::pods::{is_meshed, is_running};
use crate::ports::NamedPorts;
use crate::words::few;

/// Compares each Service with the pods of the mesh that it selects.
pub(super) fn opaque(seen: &Observed, report: &mut Report) {
    let inherited: BTreeMap<&str, NamedPorts> = seen
        .namespaces
        .iter()
        .flatten()
        .filter_map(|namespace| Some((namespace.metadata.name.as_deref()?, listed(&namespace.metadata)?)))
        .collect();
    let pods: Vec<&Pod> = seen.pods.iter().flatten().filter(|pod| is_meshed(pod) && is_running(pod)).collect();
    let mut wrong = Vec::new();
    for service in seen.services.iter().flatten() {
        for pod in pods.iter().filter(|pod| selects(service, pod)) {
            wrong.extend(disagreements(service, pod, &inherited));
        }
    }
    let hint = format!("write the annotation {OPAQUE_PORTS} on both, or on their namespace alone");
    let problem = (!wrong.is_empty()).then(|| Problem::new(few(&wrong), hint));
    report.check("opaque ports are properly annotated", Finding::warns_if(problem));
}

fn disagreements(service: &Service, pod: &Pod, inherited: &BTreeMap<&str, NamedPorts>) -> Vec<String> {
    let space = service.metadata.namespace.as_deref().and_then(|namespace| inherited.get(namespace));
    let (of_service, of_pod) = (listed(&service.metadata), listed(&pod.metadata));
    let is_opaque = |own: &Option<NamedPorts>, port: u16, port_name: Option<&str>| {
        own.as_ref().or(space).is_some_and(|listed| listed.has(port, port_name))
    };
    let title = || service.metadata.name.as_deref().unwrap_or_default();
    let disagreement = |port: &ServicePort| {
        let number = u16::try_from(port.port).ok()?;
        let (target, target_name) = target(port, pod)?;
        match (is_opaque(&of_service, number, port.name.as_deref()), is_opaque(&of_pod, target, target_name)) {
            (true, false) => {
                Some(format!("the Service {} says that {number} is opaque, {} doesn't of {target}", title(), name(pod)))
            }
            (false, true) => {
                Some(format!("{} says that {target} is opaque, the Service {} doesn't of {number}", name(pod), title()))
            }
            _ => None,
        }
    };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .filter_map(disagreement)
        .collect()
}

fn listed(metadata: &ObjectMeta) -> Option<NamedPorts> {
    metadata.annotations.as_ref()?.get(OPAQUE_PORTS).map(|text| NamedPorts::parse(text))
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|labels| !labels.is_empty());
    let labels = pod.metadata.labels.as_ref();
    service.metadata.namespace == pod.metadata.namespace
        && selector.is_some_and(|selector| {
            selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
}

/// The pod's port that a Service's leads to, with its name, if it has one there.
fn target<'p>(port: &ServicePort, pod: &'p Pod) -> Option<(u16, Option<&'p str>)> {
    let declared = || pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|it| it.ports.iter().flatten());
    let found: Option<&ContainerPort> = match &port.target_port {
        Some(IntOrString::String(name)) => Some(declared().find(|port| port.name.as_ref() == Some(name))?),
        Some(IntOrString::Int(number)) => declared().find(|port| port.container_port == *number),
        None => declared().find(|declared| declared.container_port == port.port),
    };
    let number = match (found, &port.target_port) {
        (Some(found), _) => found.container_port,
        (None, Some(IntOrString::Int(number))) => *number,
        (None, _) => port.port,
    };
    Some((u16::try_from(number).ok()?, found.and_then(|found| found.name.as_deref())))
}
