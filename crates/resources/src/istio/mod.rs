//! Istio's kinds, a file for each, as Istio's API reference describes them.

pub(crate) mod authorization_policy;
pub(crate) mod peer_authentication;
mod selector;

pub use selector::{Selector, TargetRef};

/// The group of the security kinds.
pub(crate) const SECURITY_GROUP: &str = "security.istio.io";
/// The versions that mean the same.
pub(crate) const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
