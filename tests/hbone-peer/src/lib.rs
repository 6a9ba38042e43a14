//! HBONE as ztunnel speaks it (HTTP/2 CONNECT over mutual TLS 1.3), written anew from a description of the wire, so that
//! a misreading in the proxy can't be repeated here. Knows nothing of Weft's crates, records or policies.
#![forbid(unsafe_code)]

pub mod client;
pub mod event;
pub mod judge;
pub mod limits;
mod ping;
pub mod pipe;
pub mod server;
pub mod tap;
pub mod tls;
