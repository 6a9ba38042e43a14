//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod check;
pub mod client;
pub mod crds;
mod fetch;
pub mod install;
pub mod names;
pub mod uninstall;
