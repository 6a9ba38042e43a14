//! Pods that should have a proxy and run without one: made before their namespace was meshed, or
//! while nobody could inject them.

use k8s_openapi::api::core::v1::Pod;

use super::decide::{is_deciding, unfit, wants};
use super::marks::{Marks, NamespaceMarks};
use crate::pods::is_running;

/// A pod that runs without a proxy and could have one; of it only what decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate(Marks);

/// A pod that should have a proxy and has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unmeshed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Candidate {
    /// `None` for a pod that has a proxy, can't have one, or has ended.
    pub fn of(pod: &Pod) -> Option<Self> {
        let stays = is_running(pod) && pod.metadata.deletion_timestamp.is_none();
        let fits = stays && unfit(pod).is_empty();
        fits.then(|| Self(Marks::of(&pod.metadata).deciding()))
    }

    /// Whether it should have one, in this namespace. `control_namespace` is the control plane's own.
    pub fn lacks_proxy(&self, namespace: &NamespaceMarks, control_namespace: &str) -> bool {
        wants(namespace, &self.0, control_namespace).is_ok()
    }
}

impl Marks {
    /// Only what decides about injection.
    pub(crate) fn deciding(mut self) -> Self {
        self.labels.retain(|key, _| is_deciding(key));
        self.annotations.retain(|key, _| is_deciding(key));
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lacks(pod: Value, namespace: &str) -> bool {
        let mut marks = Marks::default();
        marks.annotations.insert("linkerd.io/inject".to_owned(), namespace.to_owned());
        let namespace = NamespaceMarks { name: "shop".to_owned(), marks: marks.deciding() };
        let candidate = Candidate::of(&serde_json::from_value(pod).unwrap());
        candidate.is_some_and(|candidate| candidate.lacks_proxy(&namespace, "weft"))
    }

    #[test]
    fn a_pod_is_missed_as_its_namespace_says() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": []}});
        assert!(lacks(pod.clone(), "enabled"));
        assert!(!lacks(pod, "disabled"));
        let asks = json!({"metadata": {"annotations": {"linkerd.io/inject": "enabled"}}, "spec": {"containers": []}});
        assert!(lacks(asks, "disabled"));
    }

    #[test]
    fn pods_that_need_none_are_not_missed() {
        for pod in [
            json!({"metadata": {}, "spec": {"containers": [], "initContainers": [{"name": "weft-proxy"}]}}),
            json!({"metadata": {}, "spec": {"containers": [], "hostNetwork": true}}),
            json!({"metadata": {}, "spec": {"containers": []}, "status": {"phase": "Succeeded"}}),
            json!({"metadata": {"annotations": {"linkerd.io/inject": "disabled"}}, "spec": {"containers": []}}),
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}}),
        ] {
            assert!(!lacks(pod.clone(), "enabled"), "{pod}");
        }
    }
}
