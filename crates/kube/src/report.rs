//! What helps others to see what is wrong with a mesh, gathered from its cluster. No Secret is read;
//! what else could hold one goes through [`clean`].

mod archive;
mod clean;

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::{Client, ResourceExt};
use serde_json::Value;

pub use self::archive::archive;
pub use self::clean::clean;
use self::clean::stripped;
use crate::client::failed;
use crate::fetch::Kind;
use crate::names::{ADMIN_PORT, CONTROLLER_CONTAINER, CONTROLLER_SELECTOR, INIT_CONTAINER, INJECTED, PROXY_CONTAINER};

/// One file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its path in the report.
    pub path: String,
    /// Its text, cleaned.
    pub text: String,
}

/// A report being gathered. What can't be read is noted, and the rest goes on.
#[derive(Debug)]
pub struct Report {
    pieces: Vec<Piece>,
    missing: Vec<String>,
    tell: fn(&str),
}

impl Report {
    /// A report with nothing in it. `tell` hears what is read next.
    pub fn new(tell: fn(&str)) -> Self {
        Self { pieces: Vec::new(), missing: Vec::new(), tell }
    }

    /// Adds a text.
    pub fn add(&mut self, path: &str, text: &str) {
        self.pieces.push(Piece { path: path.to_owned(), text: clean(text) });
    }

    /// Notes what couldn't be read, and why.
    pub fn lacks(&mut self, what: &str, why: &str) {
        self.missing.push(clean(&format!("{what}: {why}\n")));
    }

    /// The files, the list of what is missing among them.
    pub fn finish(mut self) -> Vec<Piece> {
        if !self.missing.is_empty() {
            self.pieces.push(Piece { path: "missing.txt".to_owned(), text: self.missing.concat() });
        }
        self.pieces
    }

    /// Gathers what the API server tells of the mesh: of `namespaces`, or of all that have proxies.
    pub async fn gather(&mut self, client: &Client, weft: &str, namespaces: &[String]) {
        match client.apiserver_version().await {
            Ok(version) => {
                self.add("cluster/version.json", &pretty(&serde_json::to_value(version).unwrap_or_default()))
            }
            Err(error) => self.lacks("the API server's version", &failed("ask", &error).to_string()),
        }
        for (kind, name) in CLUSTER_WIDE {
            self.list(client, kind, None, &format!("cluster/{name}.json")).await;
        }
        let mut places = vec![weft.to_owned()];
        places.extend(if namespaces.is_empty() { self.meshed(client).await } else { namespaces.to_vec() });
        places.sort();
        places.dedup();
        for place in &places {
            for (kind, name) in NAMESPACED {
                self.list(client, kind, Some(place), &format!("{place}/{name}.json")).await;
            }
            let own: &[&str] = if place == weft { &[CONTROLLER_CONTAINER] } else { &[INIT_CONTAINER, PROXY_CONTAINER] };
            self.logs(client, place, own).await;
        }
        for name in ["weft-config", "weft-anchors"] {
            match (Kind { api_version: "v1", kind: "ConfigMap" }).get(client, Some(weft), name).await {
                Ok(found) => self.add(&format!("{weft}/{name}.json"), &pretty(&found.unwrap_or_default())),
                Err(error) => self.lacks(name, &error.to_string()),
            }
        }
        self.metrics(client, weft).await;
    }

    async fn list(&mut self, client: &Client, kind: Kind<'_>, namespace: Option<&str>, path: &str) {
        (self.tell)(path);
        match kind.list(client, namespace, &ListParams::default()).await {
            Ok(found) => {
                let found: Vec<Value> = found.into_iter().map(stripped).collect();
                self.add(path, &pretty(&Value::from(found)));
            }
            Err(error) => self.lacks(path, &error.to_string()),
        }
    }

    /// The namespaces that have pods with proxies.
    async fn meshed(&mut self, client: &Client) -> Vec<String> {
        let pods: Api<Pod> = Api::all(client.clone());
        match pods.list(&ListParams::default().labels(&format!("{INJECTED}=true"))).await {
            Ok(found) => found.iter().filter_map(ResourceExt::namespace).collect(),
            Err(error) => {
                self.lacks("the namespaces with proxies", &failed("list pods", &error).to_string());
                Vec::new()
            }
        }
    }

    /// What Weft's own containers logged: programs' logs are theirs.
    async fn logs(&mut self, client: &Client, namespace: &str, containers: &[&str]) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let Ok(found) = pods.list(&ListParams::default()).await else { return };
        for pod in found {
            let spec = pod.spec.as_ref();
            let all = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
            let own = all.map(|container| container.name.as_str()).filter(|name| containers.contains(name));
            for container in own {
                let params = LogParams {
                    container: Some(container.to_owned()),
                    tail_lines: Some(LOG_LINES),
                    limit_bytes: Some(LOG_BYTES),
                    ..LogParams::default()
                };
                let path = format!("{namespace}/logs/{}.{container}.log", pod.name_any());
                (self.tell)(&path);
                match pods.logs(&pod.name_any(), &params).await {
                    Ok(text) => self.add(&path, &text),
                    Err(error) => self.lacks(&path, &failed("read", &error).to_string()),
                }
            }
        }
    }

    async fn metrics(&mut self, client: &Client, weft: &str) {
        let pods: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), weft, &kube::core::ApiResource::erase::<Pod>(&()));
        let Ok(found) = pods.list(&ListParams::default().labels(CONTROLLER_SELECTOR)).await else { return };
        for pod in found {
            let name = pod.name_any();
            let path = format!("/api/v1/namespaces/{weft}/pods/{name}:{ADMIN_PORT}/proxy/metrics");
            let request = http::Request::get(path).body(Vec::new());
            let Ok(request) = request else { continue };
            match client.request_text(request).await {
                Ok(text) => self.add(&format!("{weft}/{name}.metrics.txt"), &text),
                Err(error) => self.lacks(&format!("the metrics of {name}"), &failed("read", &error).to_string()),
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    // JSON that was read can be written.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The newest lines of each log.
const LOG_LINES: i64 = 2_000;
/// However long its lines are.
const LOG_BYTES: i64 = 1 << 20;
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const SECURITY: &str = "security.istio.io/v1";
const CLUSTER_WIDE: [(Kind<'static>, &str); 4] = [
    (Kind { api_version: "v1", kind: "Node" }, "nodes"),
    (Kind { api_version: "v1", kind: "Namespace" }, "namespaces"),
    (Kind { api_version: ADMISSION, kind: "MutatingWebhookConfiguration" }, "mutating-webhooks"),
    (Kind { api_version: ADMISSION, kind: "ValidatingWebhookConfiguration" }, "validating-webhooks"),
];
const NAMESPACED: [(Kind<'static>, &str); 8] = [
    (Kind { api_version: "v1", kind: "Pod" }, "pods"),
    (Kind { api_version: "v1", kind: "Service" }, "services"),
    (Kind { api_version: "v1", kind: "Event" }, "events"),
    (Kind { api_version: "discovery.k8s.io/v1", kind: "EndpointSlice" }, "endpointslices"),
    (Kind { api_version: "apps/v1", kind: "Deployment" }, "deployments"),
    (Kind { api_version: "networking.k8s.io/v1", kind: "NetworkPolicy" }, "networkpolicies"),
    (Kind { api_version: SECURITY, kind: "AuthorizationPolicy" }, "authorizationpolicies"),
    (Kind { api_version: SECURITY, kind: "PeerAuthentication" }, "peerauthentications"),
];
