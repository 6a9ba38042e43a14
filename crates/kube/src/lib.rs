//! All that knows the Kubernetes API: watches as a source of the mesh's state, injection,
//! installation and checks.

#![forbid(unsafe_code)]

pub mod access;
pub mod analyze;
pub mod check;
pub mod client;
#[cfg(test)]
#[path = "../../../tests/clock.rs"]
mod clock;
pub mod controller;
pub mod crds;
mod documents;
pub mod events;
pub mod explain;
mod fetch;
mod identity;
pub mod inject;
pub mod install;
mod issuer;
pub mod manifest;
mod model;
pub mod names;
mod pods;
mod ports;
pub mod report;
pub mod standing;
mod status;
pub mod uninstall;
mod watch;
mod watched;
pub mod webhook;
mod words;
