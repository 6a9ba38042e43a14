//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod controller;
mod events;
mod identity;
pub mod inject;
mod issuer;
pub mod manifest;
mod model;
pub mod names;
mod status;
mod watch;
mod watched;
pub mod webhook;
