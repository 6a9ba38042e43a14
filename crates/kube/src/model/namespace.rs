//! What the mesh keeps of a Namespace: whether its pods are to be meshed, and what they inherit. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;

use super::pod::{DEFAULT_INBOUND, OPAQUE_PORTS};
use super::ports::PortList;

/// A Namespace, as far as the mesh looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Namespace {
    pub(crate) labels: BTreeMap<String, String>,
    /// Without those that only tools read.
    pub(crate) annotations: BTreeMap<String, String>,
    /// `config.linkerd.io/opaque-ports`.
    pub(crate) opaque_ports: Option<PortList>,
    /// `config.linkerd.io/default-inbound-policy`, as it is written.
    pub(crate) default_inbound: Option<String>,
}

impl Namespace {
    /// What is to be kept of a namespace.
    pub(crate) fn read(namespace: &api::Namespace) -> Self {
        let mut annotations = namespace.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| !key.starts_with("kubectl.kubernetes.io/"));
        Self {
            labels: namespace.metadata.labels.clone().unwrap_or_default(),
            opaque_ports: annotations.get(OPAQUE_PORTS).map(|text| PortList::parse(text)),
            default_inbound: annotations.get(DEFAULT_INBOUND).cloned(),
            annotations,
        }
    }
}
