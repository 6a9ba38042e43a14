//! What `weft uninstall` prints: references to what Weft made, for `kubectl delete -f -`, in an order in
//! which nothing waits for what is already gone.

mod look;

use serde_json::{Value, json};

use crate::crds::{DEFINITIONS, Standing};
use crate::install::{Plan, RootNamespace, Values, manifests};
use crate::names::ROOT_NAMESPACE;
use crate::words::few;

pub use look::installed;

/// What a cluster has of Weft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Weft's namespace.
    pub namespace: String,
    /// Which of [`candidates`] exist and are Weft's.
    pub objects: Vec<Value>,
    /// Pods that have a proxy, as `namespace/name`.
    pub injected: Vec<String>,
    /// Whether `istio-system` was made by Weft and holds nothing of anybody.
    pub root_namespace_is_free: bool,
}

/// Whether an uninstallation may take the proxies' control plane from under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// It is refused while pods have proxies.
    Refuse,
    /// The user insists.
    Abandon,
}

/// Why nothing is printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UninstallError {
    /// Pods still have proxies.
    #[error("{} pods still have a proxy: {}", pods.len(), few(pods))]
    Injected {
        /// As `namespace/name`.
        pods: Vec<String>,
    },
    /// Nothing of Weft is there.
    #[error("nothing of Weft is installed in the namespace {0}")]
    Nothing(String),
}

/// References to all that an installation makes outside of Weft's namespace, and to the namespace:
/// first what stands in the way of others (webhooks), last the namespace.
pub fn candidates(namespace: &str) -> Vec<Value> {
    let plan = Plan {
        namespace: namespace.to_owned(),
        values: Values::default(),
        root_namespace: RootNamespace::Theirs,
        meshed: Vec::new(),
    };
    let mut all: Vec<Value> = manifests(&plan);
    all.retain(|object| object["metadata"]["namespace"].is_null());
    all.reverse();
    all.iter().map(reference).collect()
}

/// References to the resource definitions.
pub fn definitions() -> Vec<Value> {
    DEFINITIONS.iter().map(|definition| reference(&definition.manifest())).collect()
}

/// Which definitions may be deleted: ours.
pub fn is_deletable(standing: Standing) -> bool {
    standing == Standing::Ours
}

/// What to delete, in order.
///
/// # Errors
/// [`UninstallError`], when nothing may or can be deleted.
pub fn references(installed: &Installed, injected: Injected) -> Result<Vec<Value>, UninstallError> {
    if installed.objects.is_empty() {
        return Err(UninstallError::Nothing(installed.namespace.clone()));
    }
    if injected == Injected::Refuse && !installed.injected.is_empty() {
        return Err(UninstallError::Injected { pods: installed.injected.clone() });
    }
    let mut all = installed.objects.clone();
    if installed.root_namespace_is_free {
        all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ROOT_NAMESPACE}}));
    }
    Ok(all)
}

fn reference(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {"name": object["metadata"]["name"]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(objects: &[Value]) -> Vec<&str> {
        objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
    }

    #[test]
    fn webhooks_go_first_and_the_namespace_last() {
        let found = candidates("weft");
        assert_eq!(
            kinds(&found),
            [
                "ValidatingWebhookConfiguration",
                "MutatingWebhookConfiguration",
                "ClusterRoleBinding",
                "ClusterRole",
                "Namespace"
            ]
        );
        assert_eq!(found[4], json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "weft"}}));
    }

    #[test]
    fn pods_with_a_proxy_stand_in_the_way() {
        let pods: Vec<String> = (0..5).map(|n| format!("shop/p{n}")).collect();
        let mut installed = Installed {
            namespace: "weft".to_owned(),
            objects: candidates("weft"),
            injected: pods,
            root_namespace_is_free: true,
        };
        let refused = references(&installed, Injected::Refuse).unwrap_err().to_string();
        assert_eq!(refused, "5 pods still have a proxy: shop/p0, shop/p1, shop/p2 and 2 more");
        let all = references(&installed, Injected::Abandon).unwrap();
        assert_eq!(all.last().unwrap()["metadata"]["name"], "istio-system");
        installed.injected.clear();
        installed.root_namespace_is_free = false;
        assert_eq!(references(&installed, Injected::Refuse), Ok(candidates("weft")));
        installed.objects.clear();
        assert_eq!(references(&installed, Injected::Abandon), Err(UninstallError::Nothing("weft".to_owned())));
    }
}
