//! HTTP/2 and gRPC through pairs of proxies on loopback. A binary of its own: what these tests hold in
//! memory would disturb those of the mesh that measure it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../mesh/clock.rs"]
#[allow(dead_code, reason = "the mesh's other tests use it")]
mod clock;
mod ends;
mod flow;
#[path = "../mesh/harness.rs"]
#[allow(dead_code, reason = "the mesh's other tests use the rest")]
mod harness;
mod hbone;
mod hostile;
#[path = "../mesh/http.rs"]
#[allow(dead_code, reason = "the mesh's other tests use the rest")]
mod http;
#[path = "../mesh/hbone/peer.rs"]
#[allow(dead_code, reason = "the mesh's other tests use the rest")]
mod peer;
mod programs;
#[path = "../../../../tests/skipped.rs"]
mod skipped;
mod streams;
mod tools;
