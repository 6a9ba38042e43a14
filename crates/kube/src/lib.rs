//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod events;
pub mod inject;
pub mod manifest;
pub mod names;
pub mod webhook;
