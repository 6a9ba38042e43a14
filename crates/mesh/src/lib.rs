//! The mesh's own language: names, records, and the decision over them.
//!
//! Everything here is plain data and pure functions. This room knows no other room, no I/O, no
//! clock and no YAML, so that proxy, command line and dashboard can ask the same questions and
//! get the same answers.
#![forbid(unsafe_code)]

pub mod balance;
pub mod call;
pub mod decide;
pub mod explain;
pub mod name;
pub mod path;
mod pattern;
pub mod record;
pub mod template;

pub use call::{Call, Headers, HttpCall, Sni};
pub use name::{NameError, Principal, SpiffeId, TrustDomain, WorkloadId};
