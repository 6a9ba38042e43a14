//! Which workloads a policy is about: `selector` and `targetRefs` (Istio, type/v1beta1).

use std::collections::BTreeMap;

use crate::notes::{Fields, Notes, Spot};
use crate::yaml::Value;

/// The labels that a workload must have, all of them; empty selects all workloads in scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Selector(pub BTreeMap<String, String>);

impl Selector {
    /// Whether a workload with these labels is selected (a subset of them suffices).
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether every workload in scope is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One of `targetRefs`: a gateway, a waypoint's service, and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// The API group; empty for core kinds.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The namespace, where one is written; it can't be another than the policy's own.
    pub namespace: Option<String>,
}

/// Reads `selector`; `None` when it can't be told.
pub(crate) fn read(spec: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Selector> {
    let Some(spot) = spec.field("selector") else { return Some(Selector::default()) };
    let (labels, defect) = notes.watched(|notes| match_labels(&spot, notes));
    if defect.is_some() {
        return None;
    }
    if labels.is_empty() {
        let message = "expected labels, found none: every workload in scope is selected".to_owned();
        notes.warning(spot.node.at, &spot.path, message);
    }
    Some(Selector(labels))
}

fn match_labels(spot: &Spot<'_>, notes: &mut Notes<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    // Labels that stand where Services have theirs.
    let misplaced: Vec<&str> = match &spot.node.value {
        Value::Map(entries) => entries.iter().filter(|entry| entry.value.text().is_some()).map(|e| &*e.key).collect(),
        _ => Vec::new(),
    };
    let Some(fields) = spot.fields_around(&["matchLabels"], ("matchLabels", &misplaced), notes) else { return labels };
    let Some(entries) = fields.field("matchLabels").and_then(|spot| spot.entries(notes)) else { return labels };
    for (entry, spot) in entries.iter() {
        let Some(value) = spot.text(notes) else { continue };
        if entry.key.is_empty() || entry.key.contains('*') || value.contains('*') {
            let found = crate::problem::quoted(&format!("{}: {value}", entry.key));
            let message = format!("expected a label without '*', with a key, found {found}");
            notes.error(entry.at, &spot.path, message);
        }
        labels.insert(entry.key.clone(), value.to_owned());
    }
    labels
}

/// Reads `targetRef` and `targetRefs`.
pub(crate) fn target_refs(spec: &Fields<'_>, namespace: Option<&str>, notes: &mut Notes<'_>) -> Vec<TargetRef> {
    let mut spots: Vec<Spot<'_>> = spec.field("targetRef").into_iter().collect();
    if let Some(list) = spec.field("targetRefs") {
        spots.extend(list.items(notes).unwrap_or_default());
        if spots.len() > MAX_TARGET_REFS {
            let message = format!("expected at most {MAX_TARGET_REFS} references, found {}", spots.len());
            notes.error(list.node.at, &list.path, message);
        }
    }
    spots.iter().filter_map(|spot| target_ref(spot, namespace, notes)).collect()
}

fn target_ref(spot: &Spot<'_>, own_namespace: Option<&str>, notes: &mut Notes<'_>) -> Option<TargetRef> {
    let fields = spot.fields(&["group", "kind", "name", "namespace"], notes)?;
    let mut text = |name: &str| fields.field(name).and_then(|spot| spot.text(notes)).map(str::to_owned);
    let group = text("group").unwrap_or_default();
    let (kind, name, namespace) =
        (text("kind").unwrap_or_default(), text("name").unwrap_or_default(), text("namespace"));
    if !TARGETS.contains(&(group.as_str(), kind.as_str())) {
        let known = "a Gateway or GatewayClass of gateway.networking.k8s.io, a Service or a ServiceEntry";
        let found = crate::problem::quoted(&format!("{group}/{kind}"));
        notes.error(spot.node.at, &spot.path, format!("expected {known}, found {found}"));
    }
    if name.is_empty() {
        notes.error(spot.node.at, &format!("{}.name", spot.path), "expected a name, found none".to_owned());
    }
    if namespace.as_deref().is_some_and(|found| !found.is_empty() && Some(found) != own_namespace) {
        let message = "expected no namespace but the policy's own, found another".to_owned();
        notes.error(spot.node.at, &format!("{}.namespace", spot.path), message);
    }
    Some(TargetRef { group, kind, name, namespace })
}

/// Istio's bound for `targetRefs`.
const MAX_TARGET_REFS: usize = 16;

/// The groups and kinds that a policy can refer to.
const TARGETS: &[(&str, &str)] = &[
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];
