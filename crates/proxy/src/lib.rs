//! The data plane: accepts what a program sends and what others send it, decides, encrypts, copies
//! and counts. A library, so that a pair of proxies can be run in one process; the binary is small.
//!
//! Two threads: one serves data (see [`serve`]), the other speaks with the control plane (see
//! [`control`]). Nothing here knows YAML or Kubernetes.
#![deny(unsafe_code)]

mod accept;
pub mod access;
mod admin;
pub mod checks;
#[cfg(test)]
#[path = "../../../tests/clock.rs"]
mod clock;
pub mod config;
mod connection;
pub mod control;
mod copy;
mod crowd;
mod data;
mod datagram;
mod detect;
mod dialling;
mod dns;
mod drain;
mod fds;
pub mod file;
mod flow;
mod hbone;
mod heard_out;
mod host;
mod http1;
mod http2;
mod inbound;
mod lane;
pub mod limits;
mod linger;
mod live;
pub mod metrics;
mod original;
mod outbound;
mod plain;
pub mod pod;
mod random;
mod range;
pub mod records;
pub mod report;
mod request;
pub mod serve;
mod service;
mod side;
mod sockets;
mod stream;
mod tls_stream;
mod tunnel;
pub mod udp;
pub mod why;
