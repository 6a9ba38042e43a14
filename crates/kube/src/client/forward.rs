//! A connection to the controller's local port, through the API server as `kubectl port-forward`
//! makes it: whoever may forward to the controller's pod may ask it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{ClientError, failed};
use crate::names::{CONTROLLER_SELECTOR, LOCAL_PORT};

/// A pod of the controller that connections can be forwarded to.
#[derive(Clone)]
pub struct Forward {
    pods: Api<Pod>,
    pod: String,
}

/// Finds a ready pod of the controller in Weft's namespace.
///
/// # Errors
/// When there is none, or the API server doesn't tell.
pub async fn controller(client: Client, namespace: &str) -> Result<Forward, ClientError> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let found = pods.list(&ListParams::default().labels(CONTROLLER_SELECTOR)).await;
    let found = found.map_err(|error| failed("find the controller", &error))?.items;
    let ready = found.iter().find(|pod| is_ready(pod));
    match (ready, found.first()) {
        (Some(pod), _) => Ok(Forward { pod: pod.name_any(), pods }),
        (None, Some(pod)) => {
            Err(ClientError::ControllerNotReady { namespace: namespace.to_owned(), why: what_hinders(pod) })
        }
        (None, None) => Err(ClientError::NoController(namespace.to_owned())),
    }
}

impl Forward {
    /// Opens a connection to the controller's plain gRPC port.
    ///
    /// # Errors
    /// When the API server refuses or doesn't answer.
    pub async fn connect(&self) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ClientError> {
        let what = format!("forward to the pod {}", self.pod);
        let forwarded = self.pods.portforward(&self.pod, &[LOCAL_PORT]).await;
        let mut forwarded = forwarded.map_err(|error| failed(&what, &error))?;
        let none = || ClientError::Refused { what, why: "no stream of the port".to_owned() };
        forwarded.take_stream(LOCAL_PORT).ok_or_else(none)
    }
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
