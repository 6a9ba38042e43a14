//! Pod Security levels: which namespaces would refuse what redirection needs.

use super::marks::NamespaceMarks;

/// The level that a namespace enforces, where it refuses `weft-init`'s capability NET_ADMIN: such pods are
/// injected all the same, and then not made, rather than run outside of the mesh unseen.
pub(crate) fn refusing_level(namespace: &NamespaceMarks) -> Option<&str> {
    namespace.marks.label(SECURITY_KEY).filter(|level| matches!(*level, "baseline" | "restricted"))
}

/// The label of namespaces by which the API server enforces a level.
pub(crate) const SECURITY_KEY: &str = "pod-security.kubernetes.io/enforce";
