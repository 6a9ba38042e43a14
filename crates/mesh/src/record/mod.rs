//! Records: small and whole, each encoded once and sent to whom it concerns.
//!
//! A record never depends on who asks, save through its own name. Nothing here knows how records
//! travel (`weft-wire`) or what they were compiled from (`weft-compile`).

mod destination;
mod inbound;
mod policy;
mod trust;

pub use destination::{AppProtocol, Destination, Endpoint, EndpointPort, Peer, ServicePort, Tunnel, Undeclared};
pub use inbound::{Inbound, MtlsMode, PeerAuthentication, PortProtocol, Scoped};
pub use policy::{
    Action, Cidr, Claim, Condition, Defect, Enforcement, Matches, Operation, Origin, PathPattern, Pattern, Policy,
    Rule, ServiceAccountRef, Source,
};
pub use trust::Trust;
