//! The messages between control plane and proxy, their codec to and from records, and the heads
//! and frames of the mesh protocol. This room knows no policy and opens no socket.

pub mod bootstrap;
pub mod frame;
pub mod head;
pub mod histogram;
pub mod maker;
pub mod record;

/// The generated messages and services, one module a package: `weft::v1` (records and control),
/// `envoy::service::discovery::v3` (delta xDS), `istio::v1::auth` (certificates).
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    rustdoc::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the .proto files are documented"
)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

/// The gRPC metadata in which a proxy whose certificate proves an identity says for which workload of
/// that identity it speaks: `<namespace>/<name>`.
pub const WORKLOAD_KEY: &str = "weft-workload";
