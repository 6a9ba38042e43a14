//! Which proxies are believed about a resource, and that a shared account confuses nobody.

use std::time::Duration;

use weft_wire::proto::weft::v1::{Delta, Reporter};

use super::*;
use crate::telemetry::fixtures::{connections, opened};
use crate::telemetry::sums::Sums;

const DEPLOYMENT: &str = "Deployment";

fn asked(kind: &str, namespace: &str, name: &str) -> Resource {
    Resource { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Deployments `one` and `two` share the account `shop`; `api` is called by both.
fn series(reporter: Reporter, from: &str) -> Series {
    let mut labels = connections(reporter, (from, "api"), "-");
    let account = "spiffe://cluster.local/ns/default/sa/shop";
    if let Some(source) = &mut labels.source {
        source.principal = if from == "unknown" { String::new() } else { account.to_owned() };
        match reporter {
            Reporter::Source => source.kind = DEPLOYMENT.to_owned(),
            Reporter::Destination => source.workload = "shop".to_owned(),
        }
    }
    if from == "unknown" {
        labels.security = "none".to_owned();
        labels.source.as_mut().unwrap().namespace = "unknown".to_owned();
    }
    labels.destination.as_mut().unwrap().kind = DEPLOYMENT.to_owned();
    labels
}

fn with_counts<T>(series: &[(Series, Delta)], read: impl FnOnce(&[Count<'_>]) -> T) -> T {
    let counts: Vec<_> =
        series.iter().map(|(labels, delta)| Count { labels, sums: Sums::of(delta), open: 0 }).collect();
    read(&counts)
}

fn told() -> Vec<(Series, Delta)> {
    vec![
        (series(Reporter::Source, "one"), opened(2)),
        (series(Reporter::Source, "two"), opened(3)),
        (series(Reporter::Destination, "shop"), opened(5)),
        (series(Reporter::Destination, "unknown"), opened(1)),
    ]
}

#[test]
fn deployments_that_share_an_account_are_told_apart() {
    let edges = with_counts(&told(), |counts| edges(counts, &asked(DEPLOYMENT, "default", "")));
    let line = |edge: &Edge| {
        let (source, destination) = (edge.source.as_ref().unwrap(), edge.destination.as_ref().unwrap());
        let opened = edge.traffic.as_ref().unwrap().opened;
        format!("{} > {}, {}: {opened}", source.workload, destination.workload, edge.security)
    };
    let lines: Vec<_> = edges.iter().map(line).collect();
    assert_eq!(lines, [" > api, none: 1", "one > api, mutual_tls: 2", "two > api, mutual_tls: 3"]);
}

/// What the certificate of a caller says is told where its own proxy doesn't: one that is lost, or is
/// of another version.
#[test]
fn a_callee_names_callers_that_say_nothing() {
    let mut proved = series(Reporter::Destination, "shop");
    let source = proved.source.as_mut().unwrap();
    (source.workload, source.kind) = ("two".to_owned(), DEPLOYMENT.to_owned());
    let lines = |told: &[(Series, Delta)], kind: &str| {
        let edges = with_counts(told, |counts| edges(counts, &asked(kind, "", "")));
        let workload = |party: &Option<Party>| party.as_ref().unwrap().workload.clone();
        edges
            .iter()
            .map(|edge| format!("{} > {}", workload(&edge.source), workload(&edge.destination)))
            .collect::<Vec<_>>()
    };
    let one = (series(Reporter::Source, "one"), opened(2));
    assert_eq!(lines(&[one.clone(), (proved.clone(), opened(3))], DEPLOYMENT), ["one > api", "two > api"]);
    let two = (series(Reporter::Source, "two"), opened(3));
    assert_eq!(lines(&[one, two, (proved, opened(3))], DEPLOYMENT), ["one > api", "two > api"]);
    // An account is no deployment.
    let account = (series(Reporter::Destination, "shop"), opened(1));
    assert_eq!(lines(std::slice::from_ref(&account), DEPLOYMENT), [" > api"]);
    assert_eq!(lines(std::slice::from_ref(&account), SERVICE), [" > api"]);
    assert_eq!(lines(&[account], NAMESPACE), ["default > default"]);
}

#[test]
fn the_called_tell_of_themselves_and_callers_of_pairs() {
    let opened = |asked: &Resource, other: &Other| {
        with_counts(&told(), |counts| {
            let rows = traffic(counts, asked, other);
            rows.into_iter().map(|((_, name), traffic)| (name, traffic.opened)).collect::<Vec<_>>()
        })
    };
    let all = asked(DEPLOYMENT, "default", "");
    assert_eq!(opened(&all, &Other::Anyone), [("api".to_owned(), 6)]);
    assert_eq!(opened(&all, &Other::From(asked(DEPLOYMENT, "default", "one"))), [("api".to_owned(), 2)]);
    let pairs = [("one".to_owned(), 2), ("two".to_owned(), 3)];
    assert_eq!(opened(&all, &Other::To(asked(DEPLOYMENT, "", "api"))), pairs);
    assert_eq!(opened(&all, &Other::To(asked("Service", "default", "api"))), pairs);
    assert_eq!(opened(&asked("Namespace", "", ""), &Other::Anyone), [("default".to_owned(), 6)]);
    assert_eq!(opened(&asked("StatefulSet", "", ""), &Other::Anyone), []);
    assert_eq!(opened(&asked(DEPLOYMENT, "elsewhere", ""), &Other::Anyone), []);
}

#[test]
fn a_pod_tells_of_itself_whatever_made_it() {
    let mut near = super::super::near::Near::default();
    let labels = series(Reporter::Destination, "shop");
    let number = near.number(&labels, "api-7d9f-x1");
    near.add(Duration::from_secs(1), number, &Sums::of(&opened(4)));
    let (counts, _) = near.counts(&HashMap::new(), (Duration::from_secs(2), Duration::from_secs(60)));
    let rows = traffic(&counts, &asked(POD, "", ""), &Other::Anyone);
    assert_eq!(rows.keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["api-7d9f-x1"]);
    assert_eq!(rows.values().map(|traffic| traffic.opened).sum::<u64>(), 4);
}
