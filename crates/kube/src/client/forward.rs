//! A connection to the controller's local port, through the API server as `kubectl port-forward`
//! makes it: whoever may forward to the controller's pod may ask it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{ClientError, failed};
use crate::names::{CONTROLLER_SELECTOR, LOCAL_PORT};
use crate::pods::{is_ready, what_hinders};

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
