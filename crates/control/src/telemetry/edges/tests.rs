//! Who is believed about an edge.

use weft_wire::proto::weft::v1::{Delta, Reporter};

use super::*;
use crate::telemetry::aggregate::Age;
use crate::telemetry::fixtures::{WINDOW, at, connections, opened};

fn found(counts: &[(Series, Delta)]) -> Vec<String> {
    let mut aggregate = Aggregate::default();
    for (labels, delta) in counts {
        let number = aggregate.number(labels.clone());
        aggregate.add(at(1), number, delta, Age::Fresh);
    }
    let line = |edge: &Edge| {
        let (source, traffic) = (edge.source.as_ref().unwrap(), edge.traffic.as_ref().unwrap());
        let service = &edge.service.as_ref().unwrap().name;
        format!("{} ({}) > {service}, {}: {}", source.app, source.principal, edge.security, traffic.opened)
    };
    edges(&aggregate, &HashMap::new(), (at(1), WINDOW)).0.iter().map(line).collect()
}

#[test]
fn callees_are_believed_and_callers_tell_the_rest() {
    let mut plain = connections(Reporter::Destination, ("unknown", "api"), "-");
    plain.source.as_mut().unwrap().principal = String::new();
    plain.security = "none".to_owned();
    let outside = connections(Reporter::Source, ("web", "PassthroughCluster"), "-");
    let lines = found(&[
        (connections(Reporter::Source, ("web", "api"), "-"), opened(2)),
        (connections(Reporter::Destination, ("web", "api"), "-"), opened(2)),
        (connections(Reporter::Source, ("web", "gone"), "-"), opened(1)),
        (plain, opened(1)),
        (outside, opened(1)),
    ]);
    assert_eq!(
        lines,
        [
            "unknown () > api, none: 1",
            "web (spiffe://cluster.local/ns/default/sa/web) > PassthroughCluster, outside: 1",
            "web (spiffe://cluster.local/ns/default/sa/web) > api, mutual_tls: 2",
            "web (spiffe://cluster.local/ns/default/sa/web) > gone, unknown: 1",
        ]
    );
}
