//! Labels and annotations, which is all that a decision reads of a namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// An object's labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Marks {
    /// What an object's metadata says.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }
}

/// A namespace, as far as injection reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceMarks {
    /// Its name.
    pub name: String,
    /// What it says.
    pub marks: Marks,
}

impl NamespaceMarks {
    /// Of a namespace's metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self { name: metadata.name.clone().unwrap_or_default(), marks: Marks::of(metadata) }
    }
}

/// Istio's switch on pods, a label or an annotation.
pub(super) const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
