//! What a pod says of itself, in few words. Pure; it knows nothing of why anybody asks.

use k8s_openapi::api::core::v1::Pod;

use crate::names::PROXY_CONTAINER;

/// Whether a pod is in the mesh.
pub(crate) fn is_meshed(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.into_iter().any(|container| container.name == PROXY_CONTAINER)
}

/// Whether a pod hasn't ended.
pub(crate) fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod says that it serves, and isn't going.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Why a pod isn't ready, in its own words.
pub(crate) fn what_hinders(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "it has no status yet".to_owned() };
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            let message = waiting.message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
            return format!("{}: {reason}{message}", container.name);
        }
    }
    let conditions = status.conditions.iter().flatten();
    let told = conditions.filter(|c| c.status != "True").find_map(|c| c.message.clone());
    told.or_else(|| status.phase.clone()).unwrap_or_else(|| "it doesn't say why".to_owned())
}
