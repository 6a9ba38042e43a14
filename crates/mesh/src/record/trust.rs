//! Whom the mesh trusts.

use crate::name::TrustDomain;

/// The trust bundle: which roots may vouch for which trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The mesh's own trust domain.
    pub domain: TrustDomain,
    /// Root certificates, DER. Never empty in a record that is sent.
    pub anchors: Vec<Vec<u8>>,
}
