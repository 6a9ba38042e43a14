//! From resources to records: which policies govern a workload and what they say, what callers must
//! know of a service.
//!
//! Entry points: [`PolicySet::new`], then [`snapshot`]. Everything is a pure function of its
//! arguments; this room knows no I/O, no clock and no YAML. What could not be understood comes as
//! broken resources from `weft-resources` and is compiled so that it denies what it might have denied.

#![forbid(unsafe_code)]

mod analyze;
mod authorization;
mod destination;
mod pattern;
mod peer;
mod reach;
mod rule;
mod set;
mod settings;
mod snapshot;
mod trust_domain;
mod workload;

pub use destination::{ServiceAddresses, destinations};
pub use set::PolicySet;
pub use settings::Settings;
pub use snapshot::{Snapshot, snapshot};
pub use workload::{Workload, inbound};
