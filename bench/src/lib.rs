//! The floor's two halves: what TLS needs, and the relay. It knows no HTTP, no policy and no metrics, on purpose:
//! it is the least that two mutually authenticated proxies can do, and every other pair is compared with it.
#![forbid(unsafe_code)]

pub mod relay;
pub mod tls;
