//! What holds for the whole mesh.

use weft_mesh::TrustDomain;

/// Settings of the mesh (Istio: `MeshConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The mesh's own trust domain.
    pub trust_domain: TrustDomain,
    /// Other names of it in policies, such as a former one. `cluster.local` always is one.
    pub aliases: Vec<TrustDomain>,
    /// The namespace whose policies govern the whole mesh.
    pub root_namespace: String,
    /// What services' full names end with, after `NAME.NAMESPACE.svc.`.
    pub dns_suffix: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            dns_suffix: "cluster.local".to_owned(),
        }
    }
}
