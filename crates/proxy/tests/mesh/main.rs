//! Pairs of proxies on loopback, with an authority and a registry of the test's own, and programs
//! that are plain sockets.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod clock;
mod dns;
mod fakes;
mod flood;
mod harness;
mod hbone;
mod http;
mod http1;
mod http1_ends;
mod http1_policy;
mod identity;
mod lane;
mod launched;
mod policy;
mod server_name;
#[path = "../../../../tests/skipped.rs"]
mod skipped;
mod slow;
mod tcp;
mod unenforced;
mod waits;
