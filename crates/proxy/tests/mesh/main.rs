//! Pairs of proxies on loopback, with an authority and a registry of the test's own, and programs
//! that are plain sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod dns;
mod harness;
mod hbone;
mod http;
mod http1;
mod http1_policy;
mod identity;
mod policy;
mod tcp;
