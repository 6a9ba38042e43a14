//! The control plane of one machine: the folder of manifests as a source, the registry of
//! workloads, their names and addresses, the certificate service, and the distribution of records.
//!
//! ```text
//! folder ──────> Source ──> resources ┐                         ┌─> discovery: proxies' streams
//! launchers ───> launch ──> registry ─┴─> plane ──> distribute ─┘
//! proxies ─────> certificates ──> authority (state folder)
//! folder ──────> supervise ──> launchers, one for each program that the folder names
//! proxies ─────> telemetry ──> command line, Prometheus
//! ```
//!
//! Entry points: [`serve`]; [`Manifests`], for those who ask a folder while nothing runs. `plane` and
//! what it holds (`registry`, `addresses`, `distribute`) are pure; one task for each concern moves
//! data in and out. This room knows no data plane and no
//! Kubernetes.

#![forbid(unsafe_code)]

mod addresses;
mod authenticate;
mod authority;
mod certificates;
mod crowd;
mod discovery;
mod distribute;
mod error;
mod folder;
mod hash;
mod idle;
mod launch;
pub mod limits;
mod machine;
mod mesh;
mod messages;
mod network;
mod own;
mod owner;
mod persist;
mod placed;
mod plane;
mod queries;
mod records;
mod registry;
mod serve;
mod services;
mod shared;
mod socket;
mod store;
mod supervise;
mod telemetry;
mod wall;

pub use authenticate::{Authenticator, Caller, Claim, Client};
pub use certificates::Signing;
pub use crowd::{Crowd, Place};
pub use distribute::{Delivery, Refusal, Standing};
pub use error::ControlError;
pub use folder::Manifests;
pub use mesh::{Mesh, ServiceName, TargetError};
pub use queries::Facts;
pub use serve::{Config, ControlPlane, serve};
pub use services::Services;
pub use shared::Shared;
pub use socket::{PeerError, SocketError, admit, listen};
pub use store::{StoreError, is_held};
