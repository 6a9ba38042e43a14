//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod controller;
mod identity;
mod issuer;
mod model;
pub mod names;
mod status;
mod watch;
mod watched;
