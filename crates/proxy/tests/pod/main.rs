//! Proxies in pods, without Kubernetes: network namespaces in the place of pods, the packet rules of
//! `weft-init`, the real binary told by its environment, a control plane over TLS, and unmodified
//! programs. It needs root, and says so where it isn't.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod away;
mod control;
mod net;
mod scene;
#[path = "../../../../tests/skipped.rs"]
mod skipped;
