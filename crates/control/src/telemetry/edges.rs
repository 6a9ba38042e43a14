//! Who calls whom, as which identity, secured or not, out of series. Pure.
//!
//! An edge joins applications. The callee's proxies are believed; callers' proxies tell of what no
//! callee tells: calls to the outside, and to services that nobody serves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use weft_wire::proto::weft::v1::{Edge, Party, Series, ServiceName};

use super::aggregate::Aggregate;
use super::stat::{Count, Meter, View, counted, is_callees, place};

/// The edges of the last `window`, by caller and callee; and what they cover. `open` tells the
/// connections that are open now, by series.
pub(crate) fn edges(
    aggregate: &Aggregate,
    open: &HashMap<u32, u64>,
    (now, window): (Duration, Duration),
) -> (Vec<Edge>, Duration) {
    let (counts, covered) = counted(aggregate, open, (now, window));
    let told: HashSet<_> = counts.iter().filter(|c| is_callees(c.labels)).map(|c| ends(c.labels)).collect();
    let mut edges: BTreeMap<Key<'_>, Meter> = BTreeMap::new();
    for count in &counts {
        if is_callees(count.labels) || !told.contains(&ends(count.labels)) {
            edges.entry(key(count)).or_default().add(count, View::Whole);
        }
    }
    (edges.into_iter().map(|(key, meter)| key.finish(meter)).collect(), covered)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    /// Namespace, application, identity.
    source: [&'a str; 3],
    /// Namespace and name.
    service: (&'a str, &'a str),
    host: &'a str,
    destination: [&'a str; 3],
    security: &'a str,
}

impl Key<'_> {
    fn finish(self, meter: Meter) -> Edge {
        let party = |[namespace, app, principal]: [&str; 3]| Party {
            namespace: namespace.to_owned(),
            app: app.to_owned(),
            principal: principal.to_owned(),
            ..Party::default()
        };
        let (namespace, name) = self.service;
        Edge {
            source: Some(party(self.source)),
            destination: Some(party(self.destination)),
            service: Some(ServiceName {
                host: self.host.to_owned(),
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            }),
            security: self.security.to_owned(),
            traffic: Some(meter.finish()),
        }
    }
}

/// The calling application and the service.
fn ends(labels: &Series) -> ((&str, &str), (&str, &str)) {
    let source = labels.source.as_ref().map(|p| (p.namespace.as_str(), p.app.as_str())).unwrap_or_default();
    (source, place(labels))
}

fn key<'a>(count: &Count<'a>) -> Key<'a> {
    let labels = count.labels;
    let service = place(labels);
    let security = match (is_callees(labels), service.1) {
        (true, _) => labels.security.as_str(),
        (false, OUTSIDE) => "outside",
        (false, _) => "unknown",
    };
    Key {
        source: party(labels.source.as_ref()),
        service,
        host: labels.service.as_ref().map(|s| s.host.as_str()).unwrap_or_default(),
        destination: party(labels.destination.as_ref()),
        security,
    }
}

fn party(party: Option<&Party>) -> [&str; 3] {
    party.map(|p| [p.namespace.as_str(), p.app.as_str(), p.principal.as_str()]).unwrap_or_default()
}

/// Istio's name for all that is outside of the mesh.
const OUTSIDE: &str = "PassthroughCluster";

#[cfg(test)]
mod tests;
