//! Network policies that keep the mesh's own ports closed: where one selects a pod, only what some
//! policy allows gets through.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use weft_compile::Settings;

use super::control_plane::{name, unread};
use super::observed::Observed;
use super::report::{Finding, Problem, Report};
use crate::names::{MESH_PORT, PROXIES_PORT, WEBHOOKS_PORT};
use crate::pods::{is_meshed, is_running};
use crate::words::few;

/// Whether pods of the mesh reach each other and the controller, as far as policies tell.
pub(super) fn policies(seen: &Observed, report: &mut Report) {
    report.category("weft-network-policies");
    let policies = match &seen.network_policies {
        Ok(policies) => policies,
        Err(unseen) => return report.check("network policies can be listed", Finding::Warns(unread(unseen))),
    };
    let meshed: Vec<&Pod> = seen.pods.iter().flatten().filter(|pod| is_meshed(pod) && is_running(pod)).collect();
    let controllers: Vec<&Pod> = seen.controllers.iter().flatten().collect();
    let control_namespace = seen.own_namespace.as_ref().ok();
    let lines: [(&str, Vec<&Pod>, Way, &str); 4] = [
        (
            "the mesh port 15008 is open into pods",
            meshed.clone(),
            Way::In(MESH_PORT),
            "TCP 15008 in, from the mesh's namespaces",
        ),
        (
            "the mesh port 15008 is open out of pods",
            meshed.clone(),
            Way::Out(MESH_PORT, None),
            "TCP 15008 out, to the mesh's namespaces",
        ),
        (
            "the controller's port 15012 is open out of pods",
            meshed,
            Way::Out(PROXIES_PORT, control_namespace),
            "TCP 15012 out, to Weft's namespace",
        ),
        (
            "the controller's ports are open into it",
            controllers,
            Way::In(PROXIES_PORT),
            "TCP 15012 in, from the mesh's namespaces, and TCP 15017 in, from the API server",
        ),
    ];
    for (description, pods, way, allow) in lines {
        let closed: Vec<String> = pods.iter().filter_map(|pod| closed(policies, pod, way)).collect();
        let problem = (!closed.is_empty()).then(|| Problem::new(few(&closed), format!("allow {allow}")));
        report.check(description, Finding::warns_if(problem));
    }
    let controllers = seen.controllers.iter().flatten();
    let closed: Vec<String> = controllers.filter_map(|pod| closed(policies, pod, Way::In(WEBHOOKS_PORT))).collect();
    let problem = (!closed.is_empty()).then(|| Problem::new(few(&closed), "allow TCP 15017 in, from the API server"));
    report.check("the webhooks' port 15017 is open into the controller", Finding::warns_if(problem));
}

/// Whether all pods and nodes' pod ranges lie in what Linkerd's `cluster-…` policies take for the cluster: who
/// calls from elsewhere counts as somebody outside.
pub(super) fn addresses(seen: &Observed, report: &mut Report) {
    let networks = Settings::default().cluster_networks;
    let is_inside = |text: &str| {
        let address = text.split('/').next().unwrap_or_default().parse();
        address.is_ok_and(|address: IpAddr| networks.iter().any(|network| network.contains(address)))
    };
    let own_network = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.host_network != Some(true));
    let addresses = |pod: &Pod| {
        pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten()).map(|ip| ip.ip.clone()).collect::<Vec<_>>()
    };
    let outside =
        |pod: &Pod| addresses(pod).into_iter().find(|ip| !is_inside(ip)).map(|ip| format!("{} has {ip}", name(pod)));
    let pods = seen.pods.iter().flatten().filter(own_network).filter_map(outside);
    let ranges = seen.nodes.iter().flatten().filter_map(|node| {
        let ranges = node.spec.as_ref()?.pod_cidrs.as_ref()?;
        let range = ranges.iter().find(|range| !is_inside(range))?;
        Some(format!("the node {} gives {range}", node.metadata.name.as_deref().unwrap_or_default()))
    });
    let wrong: Vec<String> = pods.chain(ranges).collect();
    let problem = (!wrong.is_empty()).then(|| {
        let hint = "the policies cluster-unauthenticated and cluster-authenticated refuse them: use all-authenticated";
        Problem::new(format!("outside of the private networks: {}", few(&wrong)), hint)
    });
    report.check("cluster networks contain all pods", Finding::warns_if(problem));
}

/// A direction and a TCP port; out of a pod, also the namespace that must be reached.
#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    In(u16),
    Out(u16, Option<&'a Namespace>),
}

/// Who closes this way for a pod, if somebody does.
fn closed(policies: &[NetworkPolicy], pod: &Pod, way: Way<'_>) -> Option<String> {
    let selecting: Vec<&NetworkPolicy> = policies
        .iter()
        .filter(|policy| policy.metadata.namespace == pod.metadata.namespace && selects(policy, pod, way))
        .collect();
    if selecting.is_empty() || selecting.iter().any(|policy| opens(policy, way)) {
        return None;
    }
    let names: Vec<String> = selecting.iter().filter_map(|policy| policy.metadata.name.clone()).collect();
    Some(format!("{} (by {})", name(pod), few(&names)))
}

/// Whether a policy restricts this direction of a pod.
fn selects(policy: &NetworkPolicy, pod: &Pod, way: Way<'_>) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let typed = |wanted: &str| spec.policy_types.as_ref().map(|types| types.iter().any(|found| found == wanted));
    let direction = match way {
        Way::In(_) => typed("Ingress").unwrap_or(true),
        Way::Out(..) => typed("Egress").unwrap_or(spec.egress.is_some()),
    };
    let none = BTreeMap::new();
    direction
        && spec
            .pod_selector
            .as_ref()
            .is_none_or(|selector| matches(selector, pod.metadata.labels.as_ref().unwrap_or(&none)))
}

fn opens(policy: &NetworkPolicy, way: Way<'_>) -> bool {
    let Some(spec) = &policy.spec else { return false };
    match way {
        Way::In(port) => {
            spec.ingress.iter().flatten().any(|rule: &NetworkPolicyIngressRule| has_port(rule.ports.as_deref(), port))
        }
        Way::Out(port, namespace) => spec.egress.iter().flatten().any(|rule: &NetworkPolicyEgressRule| {
            let to = rule.to.as_deref().unwrap_or_default();
            let reaches =
                to.is_empty() || namespace.is_none_or(|namespace| to.iter().any(|peer| may_be(peer, namespace)));
            reaches && has_port(rule.ports.as_deref(), port)
        }),
    }
}

/// No port at all means each.
fn has_port(ports: Option<&[NetworkPolicyPort]>, wanted: u16) -> bool {
    let wanted = i32::from(wanted);
    let one = |port: &NetworkPolicyPort| {
        let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        tcp && match (&port.port, port.end_port) {
            (None, _) => true,
            (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&wanted),
            (Some(IntOrString::Int(only)), None) => *only == wanted,
            // A named port of the pod: the mesh's have no name that a policy could know.
            (Some(IntOrString::String(_)), _) => false,
        }
    };
    ports.is_none_or(|ports| ports.is_empty() || ports.iter().any(one))
}

/// Whether a peer may be a pod of this namespace. An address block might hold any.
fn may_be(peer: &NetworkPolicyPeer, namespace: &Namespace) -> bool {
    let none = BTreeMap::new();
    let labels = namespace.metadata.labels.as_ref().unwrap_or(&none);
    peer.ip_block.is_some() || peer.namespace_selector.as_ref().is_some_and(|selector| matches(selector, labels))
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let found = labels.get(&expression.key);
            let listed = || found.is_some_and(|found| expression.values.iter().flatten().any(|value| value == found));
            match expression.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
