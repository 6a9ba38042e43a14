//! What a pod says of itself, in few words. Pure; it knows nothing of why anybody asks.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

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

/// Whether its proxy serves.
pub(crate) fn proxy_is_ready(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    statuses.into_iter().any(|status| status.name == PROXY_CONTAINER && status.ready)
}

/// What its proxy was given in a variable.
pub(crate) fn proxy_environment<'a>(pod: &'a Pod, variable: &str) -> Option<&'a str> {
    let mut containers = pod.spec.as_ref()?.init_containers.as_ref()?.iter();
    let proxy = containers.find(|container| container.name == PROXY_CONTAINER)?;
    proxy.env.as_ref()?.iter().find(|env| env.name == variable)?.value.as_deref()
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

/// What becomes of a pod, in the word that `kubectl get pods` shows.
pub(crate) fn status(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else { return "Pending".to_owned() };
    if let Some(reason) = &status.reason {
        return reason.clone();
    }
    let sidecars: Vec<&str> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
        .collect();
    let init: Vec<&ContainerStatus> = status.init_container_statuses.iter().flatten().collect();
    let is_done = |it: &ContainerStatus| match sidecars.contains(&it.name.as_str()) {
        true => it.started == Some(true),
        false => ended(it).is_some_and(|end| end.exit_code == 0),
    };
    let phase = status.phase.clone().unwrap_or_else(|| "Pending".to_owned());
    if let (Some(at), "Pending") = (init.iter().position(|it| !is_done(it)), phase.as_str()) {
        return match word(init[at]).filter(|word| word != "PodInitializing") {
            Some(word) => format!("Init:{word}"),
            None => format!("Init:{at}/{}", init.len()),
        };
    }
    let words: Vec<String> = status.container_statuses.iter().flatten().filter_map(word).collect();
    match words.iter().find(|word| *word != "Completed").or(words.first()) {
        Some(word) if word != "Completed" || phase != "Running" => word.clone(),
        _ => phase,
    }
}

/// Why a container doesn't run; `None` where it does.
fn word(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let waits = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    let end = || {
        let end = ended(container)?;
        Some(end.reason.clone().unwrap_or_else(|| format!("ExitCode:{}", end.exit_code)))
    };
    waits.or_else(end)
}

fn ended(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref()?.terminated.as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn told(status: Value) -> String {
        let container = |name: &str, state: &Value| {
            json!({"name": name, "state": state, "started": state["running"].is_object(), "ready": false, "image": "", "imageID": "",
                   "restartCount": 0})
        };
        let all = |names: &[&str], key: &str| -> Value {
            let states = status[key].as_array().cloned().unwrap_or_default();
            names.iter().zip(&states).map(|(name, state)| container(name, state)).collect()
        };
        let pod = json!({
            "metadata": {"deletionTimestamp": status["deleted"]},
            "spec": {
                "initContainers": [{"name": "weft-init"}, {"name": "weft-proxy", "restartPolicy": "Always"}],
                "containers": [],
            },
            "status": {
                "phase": status["phase"],
                "reason": status["reason"],
                "initContainerStatuses": all(&["weft-init", "weft-proxy"], "init"),
                "containerStatuses": all(&["web", "log"], "main"),
            },
        });
        super::status(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pods_word_is_kubectls() {
        let (runs, done) = (json!({"running": {}}), json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        let failed = json!({"terminated": {"exitCode": 3}});
        for (status, expected) in [
            (json!({"phase": "Running", "init": [done, runs], "main": [runs]}), "Running"),
            (json!({"phase": "Running", "init": [done, runs], "main": [done, runs]}), "Running"),
            (json!({"phase": "Succeeded", "init": [done, done], "main": [done]}), "Completed"),
            (json!({"phase": "Pending", "init": [waits("PodInitializing")]}), "Init:0/1"),
            (
                json!({"phase": "Pending", "init": [waits("ImagePullBackOff"), waits("PodInitializing")]}),
                "Init:ImagePullBackOff",
            ),
            (json!({"phase": "Pending", "init": [done, waits("CrashLoopBackOff")]}), "Init:CrashLoopBackOff"),
            (
                json!({"phase": "Running", "init": [done, runs], "main": [runs, waits("CrashLoopBackOff")]}),
                "CrashLoopBackOff",
            ),
            (json!({"phase": "Failed", "init": [done, done], "main": [failed]}), "ExitCode:3"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
            (json!({"phase": "Running", "deleted": "2026-01-01T00:00:00Z", "main": [runs]}), "Terminating"),
            (json!({"phase": "Pending"}), "Pending"),
        ] {
            assert_eq!(told(status.clone()), expected, "{status}");
        }
    }
}
