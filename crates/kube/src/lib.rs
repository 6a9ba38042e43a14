//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod check;
pub mod client;
pub mod controller;
pub mod crds;
mod fetch;
mod identity;
pub mod install;
mod issuer;
mod model;
pub mod names;
mod status;
pub mod uninstall;
mod watch;
mod watched;
