//! Injection: which pods get a proxy, why the others don't, and what an injected pod looks like.
//!
//! Pure: pods and namespaces come in, verdicts and patches go out. It knows no API server, no
//! webhook and no clock.

mod annotations;
mod config;
mod decide;
mod istio;
mod linkerd;
mod marks;
mod missing;
mod patch;
mod ports;
mod probes;
mod quantity;
mod scrape;
mod security;
mod settings;
mod sidecar;
mod subnet;

pub use annotations::{INHERITED_PREFIXES, check_setting};
pub use config::Config;
pub(crate) use decide::{INJECT_ANNOTATIONS, LINKERD_INJECT, is_other_sidecar};
pub use decide::{Level, Mark, MarkKind, Reason, Verdict, decide, is_meshed};
pub use marks::{Marks, NamespaceMarks};
pub use missing::{Candidate, Unmeshed};
pub use patch::{Operation, Patch, patch};
pub use ports::PortList;
pub use quantity::Resources;
pub(crate) use security::{SECURITY_KEY, refusing_level};
pub use settings::{Capture, Keep, Settings};
pub use subnet::Subnet;

/// The init container that redirects a pod's traffic, and ends.
pub const INIT_CONTAINER: &str = "weft-init";
/// The native sidecar; a pod is meshed exactly when it has an init container of this name.
pub const PROXY_CONTAINER: &str = "weft-proxy";
/// The label of injected pods; its value is `true`.
pub const INJECTED_LABEL: &str = "weft.io/injected";
