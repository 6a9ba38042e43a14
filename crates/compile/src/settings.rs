//! What holds for the whole mesh.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_mesh::TrustDomain;
use weft_mesh::record::Cidr;

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
    /// The addresses that count as the cluster's own in Linkerd's default inbound policies.
    pub cluster_networks: Vec<Cidr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            dns_suffix: "cluster.local".to_owned(),
            cluster_networks: PRIVATE.iter().filter_map(|(address, bits)| Cidr::new(*address, *bits)).collect(),
        }
    }
}

/// The networks that are nobody's on the internet (Linkerd: `clusterNetworks`).
const PRIVATE: [(IpAddr, u8); 5] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), 8),
];
