//! `AuthorizationPolicy` of security.istio.io: who may call what.
//!
//! Each piece that isn't understood reads as if it restricted nothing, and its rule carries a
//! defect: a DENY that uses the rule as it stands denies at least what was meant; an ALLOW must
//! leave the rule out.

mod condition;
mod operation;
mod rule;
mod source;
mod values;

use super::selector::{self, Selector, TargetRef};
use crate::meta::Meta;
use crate::nearest::nearest;
use crate::notes::{Fields, Notes, Spot};
use crate::yaml::{Place, Value};

pub use condition::Condition;
pub use operation::Operation;
pub use rule::Rule;
pub use source::Source;
pub(crate) use values::port;

/// An `AuthorizationPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// Name and place.
    pub meta: Meta,
    /// The workloads that it is about; `None` when that can't be told.
    pub selector: Option<Selector>,
    /// Gateways and services that it is about, in place of workloads.
    pub target_refs: Vec<TargetRef>,
    /// What a match means; `None` when that can't be told.
    pub action: Option<PolicyAction>,
    /// The name of the external authorizer of a CUSTOM policy.
    pub provider: Option<String>,
    /// The alternatives. A rule with a defect is wider than it was meant.
    pub rules: Vec<Rule>,
    /// Whether the annotation `istio.io/dry-run` says that the verdict isn't enforced.
    pub dry_run: bool,
    /// What could not be understood outside of the rules, in the words of its message. The other
    /// fields then hold what could; rules that are missing for it are not there.
    pub defect: Option<String>,
}

/// What a match of a policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyAction {
    /// The call is admitted.
    Allow,
    /// The call is denied.
    Deny,
    /// The call is marked.
    Audit,
    /// An external authorizer is asked.
    Custom,
}

impl AuthorizationPolicy {
    /// One of which nothing is known yet.
    pub(crate) fn unread(meta: Meta) -> Self {
        Self {
            meta,
            selector: None,
            target_refs: Vec::new(),
            action: None,
            provider: None,
            rules: Vec::new(),
            dry_run: false,
            defect: None,
        }
    }
}

/// Reads `spec`. What is wrong is noted; `defect` is one that was found before.
pub(crate) fn read(
    meta: Meta,
    spec: Option<&Spot<'_>>,
    defect: Option<String>,
    notes: &mut Notes<'_>,
) -> AuthorizationPolicy {
    let dry_run = dry_run(&meta, notes);
    let mut policy = AuthorizationPolicy { dry_run, defect, ..AuthorizationPolicy::unread(meta) };
    let Some(spec) = spec else { return policy };
    let (fields, field_defect) = notes.watched(|notes| spec.fields(FIELDS, notes));
    policy.defect = policy.defect.or(field_defect);
    let Some(fields) = fields else { return policy };
    let (rules, list_defect) = rule::read_all(&fields, policy.meta.namespace.as_deref(), notes);
    policy.rules = rules;
    let ((), head_defect) = notes.watched(|notes| head(&mut policy, &fields, notes));
    policy.defect = policy.defect.or(list_defect).or(head_defect);
    if policy.defect.is_some() && may_lack_action(&fields) {
        policy.action = None;
    }
    policy
}

/// Whether an action may have been meant although none is written: in a policy with a mistake, that
/// has no rules either, or whose mistake may be in the word `action`.
fn may_lack_action(fields: &Fields<'_>) -> bool {
    let misspelt = |key: &str| !FIELDS.contains(&key) && nearest(key, FIELDS) == Some("action");
    let unwritten = |name| fields.field(name).is_none();
    unwritten("action") && (unwritten("rules") || fields.iter().any(|(entry, _)| misspelt(&entry.key)))
}

/// All of `spec` but the rules.
fn head(policy: &mut AuthorizationPolicy, fields: &Fields<'_>, notes: &mut Notes<'_>) {
    policy.selector = selector::read(fields, notes);
    policy.target_refs = selector::target_refs(fields, policy.meta.namespace.as_deref(), notes);
    if let (Some(spot), false) = (fields.field("selector"), policy.target_refs.is_empty()) {
        let message = "expected either selector or targetRefs, found both".to_owned();
        notes.error(spot.node.at, &spot.path, message);
    }
    policy.action = action(fields, notes);
    policy.provider = provider(fields, notes);
    match (policy.action, fields.field("provider"), fields.field("action")) {
        (Some(PolicyAction::Custom), None, Some(spot)) => {
            notes.error(spot.node.at, &spot.path, "expected a provider beside CUSTOM, found none".to_owned());
        }
        (Some(action), Some(spot), _) if action != PolicyAction::Custom => {
            let message = "expected a provider only with action CUSTOM, found another action".to_owned();
            notes.error(spot.node.at, &spot.path, message);
        }
        _ => {}
    }
    match policy.action {
        Some(PolicyAction::Deny | PolicyAction::Custom) if has_no_rules(fields) => no_rules(fields, notes),
        Some(PolicyAction::Custom) => rule::check_custom(&policy.rules, fields, notes),
        _ => {}
    }
}

fn has_no_rules(fields: &Fields<'_>) -> bool {
    fields.field("rules").is_none_or(|spot| spot.node.value == Value::List(Vec::new()))
}

/// A DENY or CUSTOM without rules means nothing (Istio refuses it).
fn no_rules(fields: &Fields<'_>, notes: &mut Notes<'_>) {
    let at = fields.field("rules").or_else(|| fields.field("action")).map(|spot| spot.node.at).unwrap_or_default();
    let message = "expected at least one rule with this action, found none".to_owned();
    notes.error(at, &format!("{}.rules", fields.path()), message);
}

fn action(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<PolicyAction> {
    let Some(spot) = fields.field("action") else { return Some(PolicyAction::Allow) };
    match spot.node.text() {
        Some("ALLOW") => Some(PolicyAction::Allow),
        Some("DENY") => Some(PolicyAction::Deny),
        Some("AUDIT") => Some(PolicyAction::Audit),
        Some("CUSTOM") => Some(PolicyAction::Custom),
        _ => {
            notes.expected(&spot, "ALLOW, DENY, AUDIT or CUSTOM");
            None
        }
    }
}

fn provider(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let spot = fields.field("provider")?;
    let Some(name) = spot.fields(&["name"], notes)?.field("name") else {
        notes.error(spot.node.at, &format!("{}.name", spot.path), "expected a name, found no such field".to_owned());
        return None;
    };
    name.filled(notes).map(str::to_owned)
}

/// `istio.io/dry-run`, read as Go's `strconv.ParseBool` does. What is no boolean means enforced.
fn dry_run(meta: &Meta, notes: &mut Notes<'_>) -> bool {
    match meta.annotations.get(DRY_RUN).map(String::as_str) {
        None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
        Some(found) => {
            let message = format!("expected true or false, found {}: enforced", crate::problem::quoted(found));
            let at = Place { line: meta.line, column: 1 };
            notes.harmless_error(at, &format!("metadata.annotations[{DRY_RUN:?}]"), message);
            false
        }
    }
}

const DRY_RUN: &str = "istio.io/dry-run";
pub(crate) const FIELDS: &[&str] = &["selector", "targetRef", "targetRefs", "rules", "action", "provider"];
