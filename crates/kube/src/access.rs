//! The access logs of a cluster's proxies, as far as its nodes keep them. Knows nothing of what their lines say.

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use crate::client::{ClientError, failed};
use crate::names::{INJECTED, PROXY_CONTAINER};

/// Lines of the logs that were read.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that hold what was looked for.
    pub lines: Vec<String>,
    /// Pods whose logs can't be read, and why.
    pub unread: Vec<String>,
}

/// The lines that hold `wanted`, of the proxies in a namespace or in all of them.
///
/// # Errors
/// When pods can't be listed.
pub async fn find(client: &Client, namespace: Option<&str>, wanted: &str) -> Result<Found, ClientError> {
    let all = match namespace {
        Some(namespace) => Api::<Pod>::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let meshed = ListParams::default().labels(&format!("{INJECTED}=true"));
    let pods = all.list_metadata(&meshed).await.map_err(|error| failed("list the pods that have proxies", &error))?;
    let logs = pods.iter().map(|pod| log(client, pod.namespace().unwrap_or_default(), pod.name_any()));
    let mut logs = stream::iter(logs).buffer_unordered(AT_ONCE);
    let mut found = Found::default();
    while let Some(log) = logs.next().await {
        match log {
            Ok(text) => found.lines.extend(text.lines().filter(|line| line.contains(wanted)).map(str::to_owned)),
            Err(error) => found.unread.push(error.to_string()),
        }
    }
    Ok(found)
}

async fn log(client: &Client, namespace: String, pod: String) -> Result<String, ClientError> {
    let container = Some(PROXY_CONTAINER.to_owned());
    let params = LogParams { container, limit_bytes: Some(LOG_BYTES), ..LogParams::default() };
    let text = Api::<Pod>::namespaced(client.clone(), &namespace).logs(&pod, &params).await;
    text.map_err(|error| failed(&format!("read the log of the proxy of {namespace}/{pod}"), &error))
}

/// Logs read at once.
const AT_ONCE: usize = 8;
/// More of a log than a kubelet keeps in one file (10 MiB, unless set).
const LOG_BYTES: i64 = 16 << 20;
