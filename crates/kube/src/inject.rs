//! Injection: which pods get a proxy, why the others don't, and what an injected pod looks like.
//!
//! Pure: pods and namespaces come in, verdicts and patches go out. It knows no API server, no
//! webhook and no clock.

mod annotations;
mod config;
mod decide;
mod effect;
mod istio;
mod linkerd;
mod marks;
mod missing;
mod operation;
mod patch;
mod probes;
mod quantity;
mod scrape;
mod security;
mod settings;
mod sidecar;
mod subnet;

pub use annotations::check_setting;
pub use config::Config;
pub(crate) use config::version_of;
pub(crate) use decide::{
    CONTROL_PLANE_LABELS, INJECT_ANNOTATIONS, ISTIO_INJECTION, LINKERD_INJECT, MIRROR_ANNOTATION, OTHER_IMAGES,
    OTHER_SIDECARS, WEBHOOKS_LABEL, is_other_sidecar, keeps_out,
};
pub use decide::{Level, Mark, MarkKind, Reason, Verdict, decide, is_meshed};
pub use linkerd::INHERITED_PREFIXES;
pub use marks::{Marks, NamespaceMarks};
pub use missing::{Candidate, Unmeshed};
pub use operation::Operation;
pub(crate) use operation::{apply, escape};
pub(crate) use patch::{CREATED_BY, PROXY_VERSION, has_proxy};
pub use patch::{Patch, patch};
pub(crate) use probes::PROBES_PATH;
pub use quantity::Resources;
pub(crate) use security::{SECURITY_KEY, refusing_level};
pub use settings::{Capture, Keep, Settings};
pub(crate) use sidecar::TOKEN_VOLUME;
pub use subnet::Subnet;

pub use crate::ports::PortList;
