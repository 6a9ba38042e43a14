//! What users write: manifests in YAML or JSON, parsed with line numbers and validated.
//!
//! Entry point: [`parse`]. This room does no I/O and doesn't know what a mesh does with resources
//! (`weft-compile` does). Whatever the bytes are, it ends, within bounds, without a panic; and a
//! policy that can't be understood comes out as a broken one, never as none.

#![forbid(unsafe_code)]

mod document;
mod istio;
mod kinds;
mod meta;
mod names;
mod nearest;
mod notes;
mod parse;
mod problem;
mod resource;
mod salvage;
mod unread;
mod value;
mod weft;
mod yaml;

pub use istio::authorization_policy::{AuthorizationPolicy, Condition, Operation, PolicyAction, Rule, Source};
pub use istio::peer_authentication::PeerAuthentication;
pub use istio::{Selector, TargetRef};
pub use meta::{DEFAULT_NAMESPACE, Meta};
pub use nearest::{distance, nearest};
pub use parse::{Parsed, parse, parse_object};
pub use problem::{Problem, ResourceRef, Severity, UNKNOWN};
pub use resource::Resource;
pub use unread::unreadable;
pub use value::parse_value;
pub use weft::readiness::{Probe, ProbeTiming, Readiness};
pub use weft::workload::{APP_PROTOCOLS, Restart, Workload, WorkloadPort};
pub use yaml::{Entry, Node, Place, Value};
