//! `rules`: alternatives, each of sources, operations and conditions.

use super::condition::{self, Condition};
use super::operation::{self, Operation};
use super::source::{self, Source};
use crate::notes::{Fields, Notes, Spot};

/// One rule: any of `from`, and any of `to`, and all of `when`; an empty list restricts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The rule's line, from 1.
    pub line: u32,
    /// Alternatives of who calls.
    pub from: Vec<Source>,
    /// Alternatives of what is called.
    pub to: Vec<Operation>,
    /// Conditions that must all hold.
    pub when: Vec<Condition>,
    /// What could not be understood, in the words of its message. The rule then matches at least
    /// what was meant.
    pub defect: Option<String>,
}

/// Reads `rules`, and what is wrong with the list itself.
pub(super) fn read_all(
    spec: &Fields<'_>,
    namespace: Option<&str>,
    notes: &mut Notes<'_>,
) -> (Vec<Rule>, Option<String>) {
    let Some(spot) = spec.field("rules") else { return (Vec::new(), None) };
    let (items, defect) = notes.watched(|notes| {
        let items = spot.items(notes).unwrap_or_default();
        bounded(&spot, items.len(), notes);
        items
    });
    (items.iter().map(|item| read(item, namespace, notes)).collect(), defect)
}

fn read(item: &Spot<'_>, namespace: Option<&str>, notes: &mut Notes<'_>) -> Rule {
    let (rule, defect) = notes.watched(|notes| {
        let Some(fields) = item.fields(&["from", "to", "when"], notes) else { return Rule::default() };
        let from = alternatives(&fields, "from", notes);
        let to = alternatives(&fields, "to", notes);
        let when = alternatives(&fields, "when", notes);
        Rule {
            from: from.iter().map(|item| source::read(item, namespace, notes)).collect(),
            to: to.iter().map(|item| operation::read(item, notes)).collect(),
            when: when.iter().filter_map(|item| condition::read(item, namespace, notes)).collect(),
            ..Rule::default()
        }
    });
    Rule { line: item.node.at.line, defect, ..rule }
}

/// The items of a section. A section that is written can't be empty: nobody can tell whether it
/// was meant to match nothing or everything.
fn alternatives<'n>(fields: &Fields<'n>, name: &str, notes: &mut Notes<'_>) -> Vec<Spot<'n>> {
    let Some(spot) = fields.field(name) else { return Vec::new() };
    let Some(items) = spot.items(notes) else { return Vec::new() };
    if items.is_empty() {
        notes.error(spot.node.at, &spot.path, "expected at least one item, found an empty list".to_owned());
    }
    bounded(&spot, items.len(), notes);
    items
}

fn bounded(spot: &Spot<'_>, found: usize, notes: &mut Notes<'_>) {
    if found > MAX_ITEMS {
        let message = format!("expected at most {MAX_ITEMS} items, found {found}");
        notes.error(spot.node.at, &spot.path, message);
    }
}

/// An external authorizer is asked before identities and tokens are looked at, so a CUSTOM rule
/// can't name them.
pub(super) fn check_custom(rules: &[Rule], spec: &Fields<'_>, notes: &mut Notes<'_>) {
    let named = |source: &Source| {
        !(source.principals.is_empty() && source.namespaces.is_empty() && source.request_principals.is_empty())
    };
    let identity = |condition: &Condition| {
        matches!(condition, Condition::SourcePrincipal(_) | Condition::SourceNamespace(_) | Condition::RequestAuth(..))
    };
    for (index, rule) in rules.iter().enumerate() {
        if rule.from.iter().any(named) || rule.when.iter().any(identity) {
            let at = crate::yaml::Place { line: rule.line, column: 1 };
            let message = "expected no identities and tokens with action CUSTOM, found some".to_owned();
            notes.error(at, &format!("{}.rules[{index}]", spec.path()), message);
        }
    }
}

/// Istio's bound for `rules` and for `from`.
const MAX_ITEMS: usize = 512;
