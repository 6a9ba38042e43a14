//! Pods that should have a proxy and run without one: made before their namespace was meshed, or
//! while nobody could inject them.
//!
//! A pure state that is told of pods and namespaces. It keeps only pods that could have a proxy
//! and have none, and of these only what decides.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::decide::{is_deciding, unfit, wants};
use super::marks::{Marks, NamespaceMarks};

/// What is known of pods without a proxy.
#[derive(Debug)]
pub struct Missing {
    control_namespace: String,
    namespaces: BTreeMap<String, NamespaceMarks>,
    pods: BTreeMap<String, BTreeMap<String, Slim>>,
    missing: BTreeSet<Unmeshed>,
}

/// What decides about a pod.
#[derive(Debug)]
struct Slim {
    uid: Option<String>,
    marks: Marks,
}

/// A pod that should have a proxy and has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unmeshed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
}

impl Missing {
    /// Nothing is known yet. `control_namespace` is the control plane's own.
    pub fn new(control_namespace: &str) -> Self {
        Self {
            control_namespace: control_namespace.to_owned(),
            namespaces: BTreeMap::new(),
            pods: BTreeMap::new(),
            missing: BTreeSet::new(),
        }
    }

    /// A pod was made or has changed; the pod, where it has just joined the list.
    pub fn put_pod(&mut self, pod: &Pod) -> Option<Unmeshed> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        if is_over(pod) || !unfit(pod).is_empty() {
            self.remove_pod(&namespace, &name);
            return None;
        }
        let mut marks = Marks::of(&pod.metadata);
        marks.labels.retain(|key, _| is_deciding(key));
        marks.annotations.retain(|key, _| is_deciding(key));
        let of_old =
            self.pods.get(&namespace).and_then(|pods| pods.get(&name)).is_some_and(|old| old.uid != pod.metadata.uid);
        if of_old {
            self.remove_pod(&namespace, &name);
        }
        let slim = Slim { uid: pod.metadata.uid.clone(), marks };
        self.pods.entry(namespace.clone()).or_default().insert(name.clone(), slim);
        self.judge(&namespace, &name)
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        if let Some(pods) = self.pods.get_mut(namespace)
            && pods.remove(name).is_some()
        {
            self.missing.retain(|pod| pod.namespace != namespace || pod.name != name);
        }
    }

    /// A namespace was made or has changed; the pods that have just joined the list.
    pub fn put_namespace(&mut self, namespace: NamespaceMarks) -> Vec<Unmeshed> {
        if self.namespaces.get(&namespace.name) == Some(&namespace) {
            return Vec::new();
        }
        let name = namespace.name.clone();
        self.namespaces.insert(name.clone(), namespace);
        let pods: Vec<String> = self.pods.get(&name).into_iter().flat_map(|pods| pods.keys().cloned()).collect();
        pods.iter().filter_map(|pod| self.judge(&name, pod)).collect()
    }

    /// A namespace is gone, and all that was in it.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
        self.pods.remove(name);
        self.missing.retain(|pod| pod.namespace != name);
    }

    /// The list.
    pub fn all(&self) -> &BTreeSet<Unmeshed> {
        &self.missing
    }

    fn judge(&mut self, namespace: &str, name: &str) -> Option<Unmeshed> {
        let slim = self.pods.get(namespace)?.get(name)?;
        let marks = self.namespaces.get(namespace)?;
        let pod = Unmeshed { namespace: namespace.to_owned(), name: name.to_owned(), uid: slim.uid.clone() };
        if wants(marks, &slim.marks, &self.control_namespace).is_err() {
            self.missing.remove(&pod);
            return None;
        }
        self.missing.insert(pod.clone()).then_some(pod)
    }
}

/// Whether a pod has ended, or is ending.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, more: serde_json::Value) -> Pod {
        let mut pod = json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"containers": []}});
        for (key, value) in more.as_object().unwrap() {
            pod[key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn namespace(value: &str) -> NamespaceMarks {
        let mut marks = Marks::default();
        marks.annotations.insert("linkerd.io/inject".to_owned(), value.to_owned());
        NamespaceMarks { name: "shop".to_owned(), marks }
    }

    fn names(missing: &Missing) -> Vec<&str> {
        missing.all().iter().map(|pod| pod.name.as_str()).collect()
    }

    #[test]
    fn pods_join_when_their_namespace_does() {
        let mut missing = Missing::new("weft");
        assert_eq!(missing.put_pod(&pod("a", json!({}))), None);
        assert_eq!(missing.put_namespace(namespace("disabled")), []);
        assert_eq!(missing.put_namespace(namespace("enabled")).len(), 1);
        assert_eq!(missing.put_namespace(namespace("enabled")), [], "told once");
        assert!(missing.put_pod(&pod("b", json!({}))).is_some());
        assert_eq!(missing.put_pod(&pod("b", json!({}))), None, "told once");
        assert_eq!(names(&missing), ["a", "b"]);
        missing.remove_pod("shop", "a");
        assert_eq!(names(&missing), ["b"]);
        missing.put_namespace(namespace("disabled"));
        assert_eq!(names(&missing), [""; 0]);
        missing.put_namespace(namespace("enabled"));
        missing.remove_namespace("shop");
        assert_eq!(names(&missing), [""; 0]);
    }

    #[test]
    fn pods_that_need_none_are_not_missed() {
        let mut missing = Missing::new("weft");
        missing.put_namespace(namespace("enabled"));
        for more in [
            json!({"spec": {"containers": [], "initContainers": [{"name": "weft-proxy"}]}}),
            json!({"spec": {"containers": [], "hostNetwork": true}}),
            json!({"status": {"phase": "Succeeded"}}),
            json!({"metadata": {"namespace": "shop", "name": "x", "annotations": {"linkerd.io/inject": "disabled"}}}),
            json!({"metadata": {"namespace": "shop", "name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ] {
            assert_eq!(missing.put_pod(&pod("x", more.clone())), None, "{more}");
        }
        assert_eq!(names(&missing), [""; 0]);
    }
}
