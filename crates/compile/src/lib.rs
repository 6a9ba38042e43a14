//! From resources to records: which policies govern a workload and what they say, what callers must
//! know of a service.
//!
//! Entry points: [`PolicySet::new`], then [`inbound`], [`destination`] and [`workload_destination`], a
//! record each, so that a change costs only whom it concerns. Everything is a pure function of its arguments; this room
//! knows no I/O, no clock and no YAML. What could not be understood comes as broken resources from `weft-resources` and is
//! compiled so that it denies what it might have denied.

#![forbid(unsafe_code)]

mod analyze;
mod authorization;
mod default_inbound;
mod own;
mod pattern;
mod peer;
mod reach;
mod rule;
mod service;
mod set;
mod settings;
mod trust_domain;
mod workload;

pub use default_inbound::{DefaultInbound, NoDefaultInbound};
pub use own::{inbound, workload_destination};
pub use service::{EndpointPortPair, EndpointState, Service, ServiceEndpoint, destination, host};
pub use set::PolicySet;
pub use settings::Settings;
pub use workload::{Owner, Proxy, Workload};
