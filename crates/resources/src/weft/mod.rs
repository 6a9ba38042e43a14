//! Weft's own kinds, a file for each.

pub(crate) mod readiness;
mod value;
pub(crate) mod workload;

/// Their group.
pub(crate) const WEFT_GROUP: &str = "weft.io";
/// Its only version.
pub(crate) const WEFT_VERSION: &str = "v1alpha1";
