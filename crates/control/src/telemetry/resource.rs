//! Golden signals and edges of what a cluster's users name: deployments, namespaces, pods and so on.
//! Pure.
//!
//! What was called is told by its own proxies. Who called is told by the callers' proxies, and of those
//! that don't tell by the callees': these know what a caller's certificate says of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use weft_compile::{Proxy, Service, Workload};
use weft_wire::proto::weft::v1::{Edge, Party, Resource, Series, Traffic};

use super::stat::{self, Count, MUTUAL_TLS, Meter, View, is_callees, is_secured, never_arrived, view};

use crate::mesh::Mesh;

/// A namespace, and a name in it.
pub(crate) type Place = (String, String);

/// Whose calls count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Other {
    /// Everybody's.
    Anyone,
    /// Those of the resources asked for, to this one.
    To(Resource),
    /// Those to the resources asked for, from this one.
    From(Resource),
}

/// The traffic of the resources asked for, as far as there was any.
pub(crate) fn traffic(counts: &[Count<'_>], asked: &Resource, other: &Other) -> BTreeMap<Place, Traffic> {
    let told: HashSet<_> = counts.iter().filter(|c| is_callees(c.labels)).map(|c| stat::place(c.labels)).collect();
    let mut meters: BTreeMap<(&str, &str), Meter> = BTreeMap::new();
    for count in counts {
        let labels = count.labels;
        let subject = match other {
            Other::Anyone if asked.kind == SERVICE => view(labels, &told).map(|view| (stat::place(labels), view)),
            Other::Anyone if !is_callees(labels) => None,
            Other::Anyone => whole(callee(&asked.kind, labels)),
            Other::To(_) | Other::From(_) if is_callees(labels) => None,
            Other::To(to) if includes(to, callee(&to.kind, labels)) => whole(caller(&asked.kind, labels)),
            Other::From(from) if includes(from, caller(&from.kind, labels)) => whole(callee(&asked.kind, labels)),
            Other::To(_) | Other::From(_) => None,
        };
        if let Some((place, view)) = subject.filter(|(place, _)| includes(asked, Some(*place))) {
            meters.entry(place).or_default().add(count, view);
        }
    }
    meters.into_iter().map(|((namespace, name), meter)| ((namespace.into(), name.into()), meter.finish())).collect()
}

/// The resources asked for that there are, and of how many running pods each consists: with a proxy,
/// and in all.
pub(crate) fn present(mesh: &Mesh, asked: &Resource) -> BTreeMap<Place, (u32, u32)> {
    if asked.kind == SERVICE {
        let services = mesh.services().filter(|service| is_service(asked, service));
        let place = |service: &Service| ((service.namespace.clone(), service.name.clone()), (0, 0));
        return services.map(place).collect();
    }
    let mut present: BTreeMap<Place, (u32, u32)> = BTreeMap::new();
    for workload in mesh.workloads() {
        if let Some(place) = belongs(workload, &asked.kind).filter(|place| includes(asked, Some(*place))) {
            let (meshed, all) = present.entry((place.0.to_owned(), place.1.to_owned())).or_default();
            *meshed += u32::from(workload.proxy != Proxy::Absent);
            *all += 1;
        }
    }
    present
}

/// Whether a workload belongs to a resource, or to one of those that it stands for.
pub(crate) fn is_of(mesh: &Mesh, workload: &Workload, resource: &Resource) -> bool {
    let serves = |service: &Service| service.endpoints.iter().any(|e| e.workload.as_ref() == Some(&workload.id));
    match resource.kind.as_str() {
        SERVICE => mesh.services().any(|service| is_service(resource, service) && serves(service)),
        kind => includes(resource, belongs(workload, kind)),
    }
}

fn is_service(resource: &Resource, service: &Service) -> bool {
    includes(resource, Some((&service.namespace, &service.name)))
}

/// The edges between resources of one kind, of which one at least is asked for.
pub(crate) fn edges(counts: &[Count<'_>], asked: &Resource) -> Vec<Edge> {
    let kind = asked.kind.as_str();
    let told = Told::by_callers(kind, counts);
    let mut edges: HashMap<Key<'_>, Meter> = HashMap::new();
    // An edge joins what is connected.
    for count in counts.iter().filter(|count| is_callees(count.labels) || !never_arrived(count.labels)) {
        let labels = count.labels;
        let Some(destination) = callee(kind, labels) else { continue };
        let identity = principal(labels.source.as_ref());
        let source = match (is_callees(labels), caller(kind, labels)) {
            (false, None) => continue,
            (true, source) if told.includes(source, identity, destination) => continue,
            (true, None) => ("", ""),
            (_, Some(source)) => source,
        };
        if includes(asked, Some(source)) || includes(asked, Some(destination)) {
            let security = if is_secured(labels) { MUTUAL_TLS } else { PLAIN };
            let identities = [identity, principal(labels.destination.as_ref())];
            edges.entry(Key { source, destination, identities, security }).or_default().add(count, View::Whole);
        }
    }
    let mut edges: Vec<_> = edges.into_iter().collect();
    edges.sort_by(|(a, _), (b, _)| a.cmp(b));
    edges.into_iter().map(|(key, meter)| key.finish(kind, meter)).collect()
}

/// The edges that callers' proxies tell of: by who calls, and by its identity.
struct Told<'a> {
    callers: HashSet<(Spot<'a>, Spot<'a>)>,
    identities: HashSet<(&'a str, Spot<'a>)>,
}

type Spot<'a> = (&'a str, &'a str);

impl<'a> Told<'a> {
    fn by_callers(kind: &str, counts: &[Count<'a>]) -> Self {
        let mut told = Self { callers: HashSet::new(), identities: HashSet::new() };
        for labels in counts.iter().map(|count| count.labels).filter(|labels| !is_callees(labels)) {
            if let Some(destination) = callee(kind, labels) {
                told.callers.extend(caller(kind, labels).map(|source| (source, destination)));
                told.identities.insert((principal(labels.source.as_ref()), destination));
            }
        }
        told
    }

    /// Whether an edge of which a callee tells is among them. Who isn't known better is told by its identity.
    fn includes(&self, source: Option<Spot<'a>>, identity: &'a str, destination: Spot<'a>) -> bool {
        match source {
            Some(source) => self.callers.contains(&(source, destination)),
            None => !identity.is_empty() && self.identities.contains(&(identity, destination)),
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key<'a> {
    source: (&'a str, &'a str),
    destination: (&'a str, &'a str),
    /// Of source and destination.
    identities: [&'a str; 2],
    security: &'a str,
}

impl Key<'_> {
    fn finish(self, kind: &str, meter: Meter) -> Edge {
        let [source, destination] = self.identities;
        let party = |(namespace, name): (&str, &str), principal: &str| Party {
            workload: name.to_owned(),
            namespace: namespace.to_owned(),
            app: String::new(),
            principal: principal.to_owned(),
            kind: kind.to_owned(),
        };
        Edge {
            source: Some(party(self.source, source)),
            destination: Some(party(self.destination, destination)),
            service: None,
            security: self.security.to_owned(),
            traffic: Some(meter.finish()),
        }
    }
}

fn whole<'a>(place: Option<(&'a str, &'a str)>) -> Option<((&'a str, &'a str), View)> {
    place.map(|place| (place, View::Whole))
}

/// The resource of a kind that was called.
fn callee<'a>(kind: &str, labels: &'a Series) -> Option<(&'a str, &'a str)> {
    match kind {
        SERVICE => Some(stat::place(labels)).filter(|(namespace, _)| !is_unknown(namespace)),
        _ => named(kind, labels.destination.as_ref()?),
    }
}

/// The resource of a kind that called.
fn caller<'a>(kind: &str, labels: &'a Series) -> Option<(&'a str, &'a str)> {
    let source = labels.source.as_ref()?;
    match kind {
        // What a callee makes of an account alone is no application.
        SERVICE if is_callees(labels) && source.kind.is_empty() => None,
        SERVICE => Some((&*source.namespace, &*source.app)).filter(|(namespace, _)| !is_unknown(namespace)),
        _ => named(kind, source),
    }
}

fn named<'a>(kind: &str, party: &'a Party) -> Option<(&'a str, &'a str)> {
    match kind {
        NAMESPACE => Some((&*party.namespace, &*party.namespace)).filter(|(namespace, _)| !is_unknown(namespace)),
        _ => (party.kind == kind).then_some((&party.namespace, &party.workload)),
    }
}

fn belongs<'a>(workload: &'a Workload, kind: &str) -> Option<(&'a str, &'a str)> {
    let namespace = workload.id.namespace();
    match kind {
        NAMESPACE => Some((namespace, namespace)),
        POD => Some((namespace, workload.id.name())),
        _ => workload.owner.as_ref().filter(|owner| owner.kind == kind).map(|owner| (namespace, &*owner.name)),
    }
}

fn includes(resource: &Resource, place: Option<(&str, &str)>) -> bool {
    let is = |asked: &str, found: &str| asked.is_empty() || asked == found;
    place.is_some_and(|(namespace, name)| is(&resource.namespace, namespace) && is(&resource.name, name))
}

fn principal(party: Option<&Party>) -> &str {
    party.map(|party| party.principal.as_str()).unwrap_or_default()
}

/// What proxies call a namespace that they don't know.
fn is_unknown(namespace: &str) -> bool {
    matches!(namespace, "" | "unknown")
}

/// A kind that is told by each proxy's own counts.
pub(crate) const POD: &str = "Pod";
/// A kind that the name of what was called tells.
pub(crate) const SERVICE: &str = "Service";
const NAMESPACE: &str = "Namespace";
/// Istio's name for a call without TLS.
const PLAIN: &str = "none";

#[cfg(test)]
mod tests;
