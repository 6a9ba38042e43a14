//! `PeerAuthentication` of security.istio.io: whether callers must prove who they are.

use std::collections::BTreeMap;

use weft_mesh::record::MtlsMode;

use super::selector::{self, Selector};
use crate::meta::Meta;
use crate::notes::{Fields, Notes, Spot};
use crate::yaml::{Place, Value};

/// A `PeerAuthentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Name and place.
    pub meta: Meta,
    /// The workloads that it governs; `None` when that can't be told.
    pub selector: Option<Selector>,
    /// `mtls.mode`; `None` when it is unset and a wider scope decides.
    pub mode: Option<MtlsMode>,
    /// `portLevelMtls`, without ports whose mode is unset.
    pub ports: BTreeMap<u16, MtlsMode>,
    /// What could not be understood, in the words of its message. The other fields then hold what
    /// could, and whoever uses them must take the strictest mode.
    pub defect: Option<String>,
}

impl PeerAuthentication {
    /// One of which nothing is known yet.
    pub(crate) fn unread(meta: Meta) -> Self {
        Self { meta, selector: None, mode: None, ports: BTreeMap::new(), defect: None }
    }
}

/// Reads `spec`. What is wrong is noted, and no defect set: the caller watches the notes.
pub(crate) fn read(meta: Meta, spec: Option<&Spot<'_>>, notes: &mut Notes<'_>) -> PeerAuthentication {
    let mut policy = PeerAuthentication::unread(meta);
    let Some(fields) = spec.and_then(|spec| spec.fields_around(FIELDS, ("mtls", MTLS_FIELDS), notes)) else {
        return policy;
    };
    policy.selector = selector::read(&fields, notes);
    if let Some(spot) = fields.field("mtls") {
        policy.mode = mutual_tls(&spot, notes);
    }
    policy.ports = port_level(&fields, notes);
    let selects_all = policy.selector.as_ref().is_some_and(Selector::is_empty);
    if let Some(spot) = fields.field("portLevelMtls").filter(|_| selects_all && !policy.ports.is_empty()) {
        let message = "expected a selector with labels beside it, found none".to_owned();
        notes.error(spot.node.at, &spot.path, message);
    }
    policy
}

fn port_level(fields: &Fields<'_>, notes: &mut Notes<'_>) -> BTreeMap<u16, MtlsMode> {
    let mut ports = BTreeMap::new();
    let Some(entries) = fields.field("portLevelMtls").and_then(|spot| spot.entries(notes)) else { return ports };
    for (entry, spot) in entries.iter() {
        let mode = mutual_tls(&spot, notes);
        match super::authorization_policy::port(&entry.key).filter(|port| *port > 0) {
            Some(port) => ports.extend(mode.map(|mode| (port, mode))),
            None => expected_port(entry.at, &entry.key, &spot.path, notes),
        }
    }
    ports
}

fn expected_port(at: Place, found: &str, path: &str, notes: &mut Notes<'_>) {
    let found = crate::problem::quoted(found);
    notes.error(at, path, format!("expected a port number of 1 to 65535, found {found}"));
}

fn mutual_tls(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<MtlsMode> {
    if !matches!(spot.node.value, Value::Map(_)) {
        notes.expected(spot, "a mapping such as {mode: STRICT}");
        return None;
    }
    let mode = spot.fields(MTLS_FIELDS, notes)?.field("mode")?;
    match mode.node.text() {
        Some("UNSET") => None,
        Some("DISABLE") => Some(MtlsMode::Disable),
        Some("PERMISSIVE") => Some(MtlsMode::Permissive),
        Some("STRICT") => Some(MtlsMode::Strict),
        _ => {
            notes.expected(&mode, "UNSET, DISABLE, PERMISSIVE or STRICT");
            None
        }
    }
}

const MTLS_FIELDS: &[&str] = &["mode"];
pub(crate) const FIELDS: &[&str] = &["selector", "mtls", "portLevelMtls"];
