//! What the mesh keeps of a Namespace: what its pods and Services inherit. Pure.

use k8s_openapi::api::core::v1 as api;

use crate::inject::Marks;
use crate::ports::NamedPorts;

use super::pod::{DEFAULT_INBOUND, OPAQUE_PORTS};

/// A Namespace, as far as the mesh looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Namespace {
    /// `config.linkerd.io/opaque-ports`.
    pub(crate) opaque_ports: Option<NamedPorts>,
    /// `config.linkerd.io/default-inbound-policy`, as it is written.
    pub(crate) default_inbound: Option<String>,
    /// What decides about injection.
    pub(crate) marks: Marks,
}

impl Namespace {
    /// What is to be kept of a namespace.
    pub(crate) fn read(namespace: &api::Namespace) -> Self {
        let annotation = |key: &str| namespace.metadata.annotations.as_ref().and_then(|all| all.get(key));
        Self {
            opaque_ports: annotation(OPAQUE_PORTS).map(|text| NamedPorts::parse(text)),
            default_inbound: annotation(DEFAULT_INBOUND).cloned(),
            marks: Marks::of(&namespace.metadata).deciding(),
        }
    }
}
