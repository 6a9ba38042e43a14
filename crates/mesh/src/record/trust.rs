//! What holds for the whole mesh: whom it trusts, and where its addresses lie.

use std::net::IpAddr;

use super::Cidr;
use crate::name::TrustDomain;

/// The trust bundle: which roots may vouch for which trust domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The mesh's own trust domain.
    pub domain: TrustDomain,
    /// Root certificates, DER. Never empty in a record that is sent.
    pub anchors: Vec<Vec<u8>>,
    /// The blocks in which every address of the mesh lies, whoever gets it. Empty: nobody can tell.
    pub networks: Vec<Cidr>,
}

impl Trust {
    /// Whether an address can't be of the mesh, also if nobody has heard of it yet.
    pub fn is_outside(&self, ip: IpAddr) -> bool {
        !self.networks.is_empty() && !self.networks.iter().any(|block| block.contains(ip))
    }
}
