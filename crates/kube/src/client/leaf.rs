//! The certificate that a pod's proxy shows, as whoever may forward to the pod sees it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::error::{ClientError, failed};
use crate::names::MESH_PORT;
use crate::pods::is_meshed;

/// Names of the meshed pods of a namespace that labels select, in the API's form.
///
/// # Errors
/// When the API server refuses or doesn't answer.
pub async fn meshed_pods(client: &Client, namespace: &str, labels: &str) -> Result<Vec<String>, ClientError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default().labels(labels)).await;
    let found = found.map_err(|error| failed(&format!("list pods of {namespace}"), &error))?;
    Ok(found.iter().filter(|pod| is_meshed(pod)).map(ResourceExt::name_any).collect())
}

/// The certificate in DER that a pod's proxy shows at the mesh port. It isn't verified.
///
/// # Errors
/// When the pod can't be reached, or speaks no TLS there.
pub async fn leaf(client: &Client, namespace: &str, pod: &str) -> Result<Vec<u8>, ClientError> {
    let what = format!("read the certificate of the pod {namespace}/{pod}");
    let refused = |why: String| ClientError::Refused { what: what.clone(), why };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.get(pod).await.map_err(|error| failed(&what, &error))?;
    if !is_meshed(&found) {
        return Err(refused("it has no proxy".to_owned()));
    }
    let mut forwarded = pods.portforward(pod, &[MESH_PORT]).await.map_err(|error| failed(&what, &error))?;
    let stream = forwarded.take_stream(MESH_PORT).ok_or_else(|| refused("no stream of the port".to_owned()))?;
    let config = weft_identity::unverified_client_config().map_err(|error| refused(error.to_string()))?;
    let name = ServerName::try_from(ANY_NAME).map_err(|error| refused(error.to_string()))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let connected = connected.map_err(|error| refused(format!("TLS with its proxy: {error}")))?;
    let (_, session) = connected.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    leaf.map(|leaf| leaf.to_vec()).ok_or_else(|| refused("its proxy showed none".to_owned()))
}

/// rustls wants a name; none is sent, and none is checked.
const ANY_NAME: &str = "weft.invalid";
