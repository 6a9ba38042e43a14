//! What a cluster has of Weft: the only part of an uninstallation that asks one.

use kube::Client;
use kube::api::ListParams;
use serde_json::Value;

use super::{Installed, candidates};
use crate::client::ClientError;
use crate::fetch::{Kind, NAMESPACE};
use crate::names::{CONTROL_PLANE, INJECTED, MANAGED_BY, MANAGER, ROOT_NAMESPACE};

/// Asks a cluster what it has of Weft in this namespace, and around it.
///
/// # Errors
/// When the API server doesn't tell.
pub async fn installed(client: &Client, namespace: &str) -> Result<Installed, ClientError> {
    let mut objects = Vec::new();
    for reference in candidates(namespace) {
        let name = reference["metadata"]["name"].as_str().unwrap_or_default();
        let found = Kind::of(&reference).get(client, None, name).await?;
        if found.is_some_and(|object| is_ours(&object)) {
            objects.push(reference);
        }
    }
    let root = NAMESPACE.get(client, None, ROOT_NAMESPACE).await?;
    let root_namespace_is_free = match root {
        Some(root) if is_ours(&root) => is_empty(client, ROOT_NAMESPACE).await?,
        _ => false,
    };
    let injected = injected(client, namespace).await?;
    Ok(Installed { namespace: namespace.to_owned(), objects, injected, root_namespace_is_free })
}

/// Pods that have a proxy of this control plane, and haven't ended.
async fn injected(client: &Client, namespace: &str) -> Result<Vec<String>, ClientError> {
    let labelled = ListParams::default().labels(&format!("{INJECTED}=true,{CONTROL_PLANE}={namespace}"));
    let pods = Kind { api_version: "v1", kind: "Pod" }.list(client, None, &labelled).await?;
    let running =
        pods.iter().filter(|pod| !["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase));
    let name = |pod: &Value| {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    };
    Ok(running.map(name).collect())
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED_BY] == MANAGER
}

/// Whether a namespace holds nothing but what Kubernetes itself puts into each.
async fn is_empty(client: &Client, namespace: &str) -> Result<bool, ClientError> {
    for (api_version, kind, own) in CONTENTS {
        let found = Kind { api_version, kind }.list(client, Some(namespace), &ListParams::default().limit(3)).await?;
        if found.iter().any(|object| object["metadata"]["name"] != *own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What somebody may keep in the root namespace, and the name of the one that each namespace has.
const CONTENTS: &[(&str, &str, &str)] = &[
    ("security.istio.io/v1", "PeerAuthentication", ""),
    ("security.istio.io/v1", "AuthorizationPolicy", ""),
    ("v1", "Pod", ""),
    ("v1", "Service", ""),
    ("v1", "Secret", ""),
    ("v1", "ConfigMap", "kube-root-ca.crt"),
    ("v1", "ServiceAccount", "default"),
    ("apps/v1", "Deployment", ""),
];
