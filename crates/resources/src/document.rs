//! One document: which kind it is, and the policies that it holds, whole or broken.

use crate::istio::{SECURITY_GROUP, authorization_policy, peer_authentication};
use crate::kinds::{PolicyKind, Recognised, recognise};
use crate::meta::{self, Meta};
use crate::names::{is_label, is_subdomain};
use crate::notes::{Fields, File, Notes, Spot};
use crate::problem::{Problem, ResourceRef, Severity};
use crate::resource::Resource;
use crate::salvage::{Remains, mentioned};
use crate::weft::workload::{self, Workload};
use crate::yaml::{Node, Value};

/// What documents gave.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    pub(crate) resources: Vec<Resource>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) problems: Vec<Problem>,
}

impl Yield {
    /// Notes what could not be understood, and keeps the policies that may stand there as broken.
    pub(crate) fn broken(&mut self, problem: Problem, remains: Vec<Remains>) {
        let broken = |remains: Remains| Resource::broken(remains, &problem);
        self.resources.extend(remains.into_iter().map(broken));
        self.problems.push(problem);
    }
}

/// Reads a document.
pub(crate) fn read(file: &File<'_>, document: &Node, found: &mut Yield) {
    if document.value != Value::Null {
        resource(file, &Spot::new(document, ""), None, found);
    }
}

/// Reads a resource that stands alone or in a list, whose items may not say their kind.
fn resource(file: &File<'_>, spot: &Spot<'_>, inherited: Option<(&str, &str)>, found: &mut Yield) {
    let note = |severity, resource, message| Problem {
        severity,
        file: file.name.to_owned(),
        line: spot.node.at.line,
        column: spot.node.at.column,
        field: (!spot.path.is_empty()).then(|| spot.path.clone()),
        resource,
        message,
    };
    let text = |key: &str| spot.node.child(key).and_then(Node::text);
    let kind = text("kind").or(inherited.map(|(_, kind)| kind).filter(|_| spot.node.child("kind").is_none()));
    let (Value::Map(_), Some(kind)) = (&spot.node.value, kind) else {
        let found_instead = match (&spot.node.value, spot.node.child("kind")) {
            (Value::Map(_), Some(kind)) => format!("{} as kind", kind.describe()),
            (Value::Map(_), None) => "no kind".to_owned(),
            _ => spot.node.describe(),
        };
        let message = format!("expected a resource with apiVersion and kind, found {found_instead}");
        let any = text("apiVersion").is_some_and(|version| version.starts_with(SECURITY_GROUP));
        let remains = if any { any_policy(spot.node) } else { named_policies(spot.node) };
        return found.broken(note(Severity::Error, None, message), remains);
    };
    let version = text("apiVersion").or(inherited.map(|(version, _)| version)).unwrap_or_default();
    let reference = || Some(meta::reference(kind, spot.node));
    match recognise(version, kind) {
        Recognised::Policy(policy) => policy_of(file, spot, (policy, None), found),
        Recognised::PolicyInDoubt(policy, field, doubt) => policy_of(file, spot, (policy, Some((field, doubt))), found),
        Recognised::AnyPolicy(message) => {
            found.broken(note(Severity::Error, reference(), message), any_policy(spot.node));
        }
        Recognised::Workload => workload_of(file, spot, found),
        Recognised::Unreadable(message) => {
            let field = spot.entries(&mut Notes::new(file, None)).map(|fields| fields.path_of("apiVersion"));
            found.problems.push(Problem { field, ..note(Severity::Error, reference(), message) });
        }
        Recognised::List(item) => list(file, spot, item.as_deref().map(|item| (version, item)), found),
        Recognised::PassedBy(message) => found.problems.push(note(Severity::Info, reference(), message)),
        Recognised::Unknown(message) => found.problems.push(note(Severity::Warning, reference(), message)),
    }
}

fn list(file: &File<'_>, spot: &Spot<'_>, item: Option<(&str, &str)>, found: &mut Yield) {
    let mut notes = Notes::new(file, None);
    let items = spot.entries(&mut notes).and_then(|entries| entries.field("items"));
    let spots = items.filter(|items| items.node.value != Value::Null).and_then(|items| items.items(&mut notes));
    for spot in spots.unwrap_or_default() {
        resource(file, &spot, item, found);
    }
    for problem in notes.into_problems() {
        found.broken(problem, named_policies(spot.node));
    }
}

/// The policies that a value names anywhere: nothing more is known of them.
fn named_policies(node: &Node) -> Vec<Remains> {
    mentioned(node).into_iter().map(Remains::unknown).collect()
}

/// What any policy would be that has this name and namespace.
fn any_policy(node: &Node) -> Vec<Remains> {
    let of = |kind: PolicyKind| {
        let ResourceRef { namespace, name, .. } = meta::reference(kind.name(), node);
        let namespace = namespace.filter(|namespace| is_label(namespace));
        Remains { namespace, name: name.filter(|name| is_subdomain(name)), ..Remains::unknown(kind) }
    };
    PolicyKind::ALL.into_iter().map(of).collect()
}

/// Reads a workload. One that isn't wholly understood is told, and left out.
fn workload_of(file: &File<'_>, spot: &Spot<'_>, found: &mut Yield) {
    let mut notes = Notes::new(file, Some(meta::reference("Workload", spot.node)));
    let (read, defect) = notes.watched(|notes| {
        let fields = spot.fields_around(TOP_FIELDS, ("spec", workload::FIELDS), notes)?;
        let mut meta = meta::read(&fields, spot.node.at, notes);
        let spec = spec(&fields, &mut meta, notes);
        workload::read(meta, &fields, spec.as_ref(), notes)
    });
    found.workloads.extend(read.filter(|_| defect.is_none()));
    found.problems.append(&mut notes.into_problems());
}

/// Reads a policy. With a doubt about its kind, all of it is broken.
fn policy_of(file: &File<'_>, spot: &Spot<'_>, (kind, doubt): (PolicyKind, Option<Doubt>), found: &mut Yield) {
    let mut notes = Notes::new(file, Some(meta::reference(kind.name(), spot.node)));
    let (head, defect) = notes.watched(|notes| {
        let fields = spot.fields_around(TOP_FIELDS, ("spec", spec_fields(kind)), notes)?;
        if let Some((field, message)) = doubt {
            let place = fields.field(field).map_or(spot.node.at, |spot| spot.node.at);
            notes.error(place, &fields.path_of(field), message);
        }
        let mut meta = meta::read(&fields, spot.node.at, notes);
        let spec = spec(&fields, &mut meta, notes);
        Some((meta, spec))
    });
    let Some((meta, spec)) = head else { return };
    let resource = match kind {
        PolicyKind::AuthorizationPolicy => {
            Resource::AuthorizationPolicy(authorization_policy::read(meta, spec.as_ref(), defect, &mut notes))
        }
        PolicyKind::PeerAuthentication => {
            let (policy, inner) = notes.watched(|notes| peer_authentication::read(meta, spec.as_ref(), notes));
            Resource::PeerAuthentication(peer_authentication::PeerAuthentication { defect: defect.or(inner), ..policy })
        }
    };
    found.resources.push(resource);
    found.problems.append(&mut notes.into_problems());
}

/// The `spec`. A policy without one may be the first half of a file: then a namespace that isn't
/// there, or stands in a line that may have been cut, can't be told.
fn spec<'n>(fields: &Fields<'n>, meta: &mut Meta, notes: &mut Notes<'_>) -> Option<Spot<'n>> {
    let spec = fields.field("spec");
    if let Some(spot) = spec.filter(|spot| spot.node.value != Value::Null) {
        return Some(spot);
    }
    let at = fields.field("metadata").map(|spot| spot.node.at).unwrap_or_default();
    let message = "expected a mapping ({} where nothing is to be said), found nothing: half a file?".to_owned();
    notes.error(at, "spec", message);
    let written = fields.field("metadata").and_then(|meta| meta.node.child("namespace"));
    if written.is_none_or(|node| node.value == Value::Null || notes.is_cut(node.at)) {
        meta.namespace = None;
    }
    None
}

fn spec_fields(kind: PolicyKind) -> &'static [&'static str] {
    match kind {
        PolicyKind::AuthorizationPolicy => authorization_policy::FIELDS,
        PolicyKind::PeerAuthentication => peer_authentication::FIELDS,
    }
}

/// The field that makes a policy's kind doubtful, and how.
type Doubt = (&'static str, String);

const TOP_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
