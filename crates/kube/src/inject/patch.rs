//! From verdict to patch: the operations (RFC 6902) that turn a pod into an injected one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::config::Config;
use super::operation::{Operation, escape};
use super::probes::{self, Rewritten};
use super::quantity::Resources;
use super::scrape::{self, Scrape};
use super::settings::{Keep, Settings};
use super::sidecar;
use crate::names::{CONTROL_PLANE, INJECTED, PROXY_CONTAINER, PROXY_USER};

/// A patch, and what its reader should know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    /// In the order in which they must be applied; none for a pod that is injected already.
    pub operations: Vec<Operation>,
    /// What is written on the pod but has no effect, each with its reason.
    pub remarks: Vec<String>,
}

/// The patch that injects a pod. The pod may be a pod template: an object with `metadata` and `spec`.
pub fn patch(pod: &Value, settings: &Settings, config: &Config) -> Patch {
    if has_proxy(pod) {
        return Patch::default();
    }
    let probes = match settings.probes {
        Keep::Rewrite => probes::rewrite(pod),
        Keep::AsIs => Rewritten::default(),
    };
    let scrape = match settings.scrapes {
        Keep::Rewrite => scrape::scrape(pod),
        Keep::AsIs => Scrape::None,
    };
    let mut remarks = settings.remarks.clone();
    remarks.extend(probes.remarks);
    let settings = &with_own_user(pod, settings, &mut remarks);
    let endpoint = match &scrape {
        Scrape::Merged(endpoint) => Some(endpoint),
        Scrape::Kept(reason) => {
            remarks.push((*reason).to_owned());
            None
        }
        Scrape::None => None,
    };
    let config = &within_pod(pod, config);
    let mut operations = probes.operations;
    let proxy = sidecar::proxy(settings, config, &probes.handlers, endpoint);
    operations.extend(prepend(pod, "initContainers", [sidecar::init(settings, config), proxy]));
    operations.extend(prepend(pod, "volumes", [sidecar::volume()]));
    operations.extend(marks(pod, settings, config, endpoint));
    Patch { operations, remarks }
}

/// The configuration without resources of the proxy's own where the pod has some as a whole, which its containers may
/// take all of. Its proxy shares them then.
fn within_pod(pod: &Value, config: &Config) -> Config {
    let has_own = pod["spec"]["resources"].as_object().is_some_and(|own| !own.is_empty());
    let none = || Resources { requests: BTreeMap::new(), limits: BTreeMap::new() };
    Config { resources: if has_own { none() } else { config.resources.clone() }, ..config.clone() }
}

/// The settings with a user for the proxy that no container runs as: what that user sends passes the
/// proxy by, since it is taken for the proxy's own.
fn with_own_user(pod: &Value, settings: &Settings, remarks: &mut Vec<String>) -> Settings {
    let taken = users(pod);
    let wanted = settings.uid.unwrap_or(PROXY_USER);
    // There are more users than containers.
    let uid = (wanted..).find(|uid| !taken.contains(&u64::from(*uid))).unwrap_or(wanted);
    if uid != wanted {
        remarks.push(format!("a container runs as the user {wanted}, so the proxy runs as {uid}"));
    }
    Settings { uid: Some(uid), ..settings.clone() }
}

/// The users of the pod's containers, as far as the pod says.
fn users(pod: &Value) -> BTreeSet<u64> {
    let spec = &pod["spec"];
    let lists = [&spec["containers"], &spec["initContainers"]];
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    containers.chain([spec]).filter_map(|it| it["securityContext"]["runAsUser"].as_u64()).collect()
}

/// Whether the pod is injected already: as [`super::decide()`] has it. One that has only another container of
/// ours by name is refused by the API server then, rather than started without a proxy.
pub(crate) fn has_proxy(pod: &Value) -> bool {
    let named = |container: &Value| container["name"] == PROXY_CONTAINER;
    pod["spec"]["initContainers"].as_array().is_some_and(|containers| containers.iter().any(named))
}

fn prepend<const N: usize>(pod: &Value, list: &str, items: [Value; N]) -> Vec<Operation> {
    let path = format!("/spec/{list}");
    if !pod["spec"][list].is_array() {
        return vec![Operation::add(path, Value::from(items.to_vec()))];
    }
    items.into_iter().rev().map(|item| Operation::add(format!("{path}/0"), item)).collect()
}

/// Labels and annotations.
fn marks(pod: &Value, settings: &Settings, config: &Config, endpoint: Option<&Value>) -> Vec<Operation> {
    let labels = [(INJECTED, "true"), (CONTROL_PLANE, &*config.namespace)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut annotations: BTreeMap<String, String> = settings.inherited.clone();
    annotations.insert(PROXY_VERSION.to_owned(), config.proxy_version().to_owned());
    annotations.insert(CREATED_BY.to_owned(), format!("weft {}", env!("CARGO_PKG_VERSION")));
    if endpoint.is_some() {
        annotations.extend(scrape::annotations().map(|(key, value)| (key.to_owned(), value)));
    }
    let mut operations = Vec::new();
    if !pod["metadata"].is_object() {
        operations.push(Operation::add("/metadata", json!({})));
    }
    operations.extend(entries(pod, "labels", labels.into()));
    operations.extend(entries(pod, "annotations", annotations));
    operations
}

fn entries(pod: &Value, map: &str, entries: BTreeMap<String, String>) -> Vec<Operation> {
    let path = format!("/metadata/{map}");
    if !pod["metadata"][map].is_object() {
        let all: Map<String, Value> = entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        return vec![Operation::add(path, all.into())];
    }
    // `add` sets a member that is there already (RFC 6902, section 4.1).
    entries.into_iter().map(|(key, value)| Operation::add(format!("{path}/{}", escape(&key)), value.into())).collect()
}

/// The annotation that says which proxy a pod was given.
pub(crate) const PROXY_VERSION: &str = "weft.io/proxy-version";
/// The annotation that says who gave it.
pub(crate) const CREATED_BY: &str = "weft.io/created-by";

#[cfg(test)]
mod tests;
