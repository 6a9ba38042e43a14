//! Whether proxies follow the control plane: one that is cut off goes on with what it knows, looks well to the
//! kubelet, and ends with its certificate.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;

use super::control_plane::name;
use super::observed::Observed;
use super::report::{Finding, Problem};
use crate::names::CONTROLLER;
use crate::pods::{proxy_environment, proxy_is_ready};
use crate::words::few;

/// Pods whose proxies look elsewhere for the control plane than it is, and those that it hasn't heard of.
pub(super) fn connected(seen: &Observed, meshed: &[&Pod]) -> Finding {
    let serving: Vec<&Pod> = meshed.iter().copied().filter(|pod| is_staying(pod)).collect();
    let unheard = seen.unheard.as_deref().unwrap_or_default();
    let is_silent = |pod: &Pod| unheard.contains(&name(pod));
    let is_lost = |pod: &Pod| looks_elsewhere(seen, pod) && (is_silent(pod) || !asks_the_cluster(pod));
    let lost: Vec<String> = serving.iter().filter(|pod| is_lost(pod)).map(|pod| name(pod)).collect();
    if !lost.is_empty() {
        let error = format!("the Service {CONTROLLER} has another address than {} were given", few(&lost));
        return Finding::Fails(Problem::new(error, "restart them: kubectl rollout restart -n NAMESPACE deploy"));
    }
    let silent: Vec<String> = serving.into_iter().filter(|pod| is_silent(pod)).map(name).collect();
    if silent.is_empty() {
        return Finding::Fine;
    }
    let error = format!("the control plane hears nothing of the proxies of {}", few(&silent));
    Finding::Waits(Problem::new(error, "see why: kubectl logs POD -n NAMESPACE -c weft-proxy"))
}

/// One that isn't ready has a line of its own.
fn is_staying(pod: &Pod) -> bool {
    proxy_is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether the proxy can look the control plane up, in the cluster's DNS.
fn asks_the_cluster(pod: &Pod) -> bool {
    let policy = pod.spec.as_ref().and_then(|spec| spec.dns_policy.as_deref());
    !matches!(policy, Some("Default" | "None"))
}

/// A Service that is made again gets an address anew.
fn looks_elsewhere(seen: &Observed, pod: &Pod) -> bool {
    let is_service =
        |object: &serde_json::Value| object["kind"] == "Service" && object["metadata"]["name"] == CONTROLLER;
    let service =
        seen.objects.iter().find(|(expected, _)| is_service(expected)).and_then(|(_, found)| found.as_ref().ok());
    let given = proxy_environment(pod, "WEFT_CONTROL_ADDRESS").and_then(|address| address.parse::<SocketAddr>().ok());
    let addresses = service.and_then(|service| service["spec"]["clusterIPs"].as_array());
    let (Some(given), Some(addresses)) = (given, addresses) else { return false };
    !addresses.iter().any(|address| *address == *given.ip().to_string())
}
