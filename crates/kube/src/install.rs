//! What `weft install` prints: a pure function of the values and of what the cluster already has.
//!
//! No key is printed: the controller makes them. The same input gives the same bytes, in an order in
//! which one `kubectl apply -f -` works, and applying them again changes nothing.

mod controller;
mod look;
mod rbac;
mod render;
mod values;
mod webhooks;

use serde_json::{Value, json};

use crate::names::{MANAGED_BY, MANAGER, ROOT_NAMESPACE, VALUES_CONFIG};

pub(crate) use look::installed_values;
pub use look::{Present, definitions, present, proxies};
pub use rbac::{cluster_rules, namespace_rules};
pub use render::{Form, render};
pub use values::{Controller, Images, Proxy, PullPolicy, Quantities, Resources, Setting, Values, ValuesError};
pub use webhooks::NO_NAMESPACE;

/// What an installation depends on beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Weft's namespace.
    pub namespace: String,
    /// What the user set.
    pub values: Values,
    /// What becomes of Istio's root namespace.
    pub root_namespace: RootNamespace,
    /// The namespaces in the mesh, as the cluster's injector names them: applying again takes none out.
    pub meshed: Vec<String>,
}

/// What becomes of `istio-system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootNamespace {
    /// It is absent, or Weft made it: it is printed, with a label that says so.
    Ours,
    /// Nobody looked: it is printed without that label, so that it is never deleted as Weft's.
    Unknown,
    /// Somebody else made it: it isn't printed.
    Theirs,
}

/// The objects to apply, in order.
pub fn manifests(plan: &Plan) -> Vec<Value> {
    let Plan { namespace, values, .. } = plan;
    let mut all = vec![own_namespace(namespace)];
    all.extend(root_namespace(plan.root_namespace));
    all.extend(rbac::manifests(namespace));
    all.push(config(namespace, values));
    all.extend(controller::manifests(namespace, values));
    all.extend(webhooks::manifests(namespace, &plan.meshed));
    all
}

fn own_namespace(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            "labels": {
                MANAGED_BY: MANAGER,
                "weft.io/control-plane": "true",
                "config.linkerd.io/admission-webhooks": "disabled",
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/audit": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
    })
}

fn root_namespace(which: RootNamespace) -> Option<Value> {
    let labels = match which {
        RootNamespace::Ours => json!({MANAGED_BY: MANAGER}),
        RootNamespace::Unknown => json!({}),
        RootNamespace::Theirs => return None,
    };
    Some(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": ROOT_NAMESPACE, "labels": labels},
    }))
}

fn config(namespace: &str, values: &Values) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(VALUES_CONFIG, Some(namespace)),
        "data": {"values.yaml": values.to_yaml()},
    })
}

/// Name, place and owner of an object.
fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let labels = json!({MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "weft"});
    match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace, "labels": labels}),
        None => json!({"name": name, "labels": labels}),
    }
}

/// The version of the images, of the controller and of the proxies that it injects.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests;
