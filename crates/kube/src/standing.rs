//! Which resources of a kind there are, as the user's own rights show them: also those that nothing was
//! ever told of, such as a Deployment without pods.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::ListParams;
use serde_json::Value;

use crate::client::ClientError;
use crate::fetch::Kind;
use crate::pods;

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its namespace; a namespace's own name, as the controller's figures have it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Of a pod what becomes of it, in kubectl's word.
    pub status: Option<String>,
    /// Of a pod whether it has a proxy.
    pub is_meshed: bool,
}

/// The resources of a kind, by its name in the API such as `Deployment`: one of this name or all, in a namespace
/// or in all. Revisions of Deployments that nothing runs of any more are left out.
///
/// # Errors
/// When the API server refuses or doesn't answer.
pub async fn standing(
    client: &Client,
    kind: &str,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Standing>, ClientError> {
    let api_version = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => "v1",
    };
    let params =
        name.map_or_else(ListParams::default, |name| ListParams::default().fields(&format!("metadata.name={name}")));
    let namespace = namespace.filter(|_| kind != "Namespace");
    let found = Kind { api_version, kind }.list(client, namespace, &params).await?;
    let is_past = |object: &Value| kind == "ReplicaSet" && object["spec"]["replicas"] == 0;
    Ok(found.into_iter().filter(|object| !is_past(object)).map(|object| Standing::of(kind, object)).collect())
}

impl Standing {
    fn of(kind: &str, object: Value) -> Self {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        let namespace = if kind == "Namespace" { name.clone() } else { text("namespace") };
        let pod = (kind == "Pod").then(|| serde_json::from_value::<Pod>(object).unwrap_or_default());
        let is_meshed = pod.as_ref().is_some_and(pods::is_meshed);
        Self { namespace, name, status: pod.as_ref().map(pods::status), is_meshed }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Else each namespace would stand there twice: as the API server has it, and as figures name it.
    #[test]
    fn a_namespace_stands_in_itself() {
        let of = |kind, metadata| Standing::of(kind, json!({"metadata": metadata}));
        assert_eq!(of("Namespace", json!({"name": "shop"})).namespace, "shop");
        assert_eq!(of("Deployment", json!({"name": "web", "namespace": "shop"})).namespace, "shop");
    }
}
