//! Which view counts, and what is a failure.

use weft_wire::proto::weft::v1::{Delta, Route};

use super::*;
use crate::telemetry::aggregate::Age;
use crate::telemetry::fixtures::{WINDOW, at, closed, connections, opened, requests, took};

fn stat(counts: &[(Series, Delta)]) -> Vec<StatRow> {
    let mut aggregate = Aggregate::default();
    for (labels, delta) in counts {
        let number = aggregate.number(labels.clone());
        aggregate.add(at(1), number, delta, Age::Fresh);
    }
    rows(&aggregate, &HashMap::new(), (at(1), WINDOW)).0
}

fn traffic(row: &StatRow) -> &Traffic {
    row.traffic.as_ref().unwrap()
}

const PAIR: (&str, &str) = ("web", "api");

#[test]
fn a_call_that_both_sides_tell_counts_once() {
    let from_caller = Delta { opened: 3, from_caller_bytes: 10, from_callee_bytes: 20, ..Delta::default() };
    let rows = stat(&[
        (connections(Reporter::Source, PAIR, "-"), from_caller.clone()),
        (connections(Reporter::Destination, PAIR, "-"), from_caller),
        (connections(Reporter::Source, PAIR, "-"), closed(3)),
        (connections(Reporter::Destination, PAIR, "-"), closed(3)),
    ]);
    assert_eq!(rows.len(), 1);
    let found = traffic(&rows[0]);
    assert_eq!((found.opened, found.closed, found.failed_connections), (3, 3, 0));
    assert_eq!((found.from_caller_bytes, found.from_callee_bytes), (10, 20));
    assert_eq!((found.calls, found.secured_calls), (3, 3));
}

#[test]
fn what_never_arrived_is_added_and_has_no_share_in_mtls() {
    let rows = stat(&[
        (connections(Reporter::Destination, PAIR, "-"), opened(2)),
        (connections(Reporter::Destination, PAIR, "-"), closed(2)),
        (connections(Reporter::Source, PAIR, "-"), opened(4)),
        (connections(Reporter::Source, PAIR, "-"), closed(2)),
        (connections(Reporter::Source, PAIR, "UH"), closed(1)),
        (connections(Reporter::Source, PAIR, "UF"), closed(1)),
    ]);
    let found = traffic(&rows[0]);
    assert_eq!((found.opened, found.closed, found.failed_connections), (3, 3, 1));
    assert_eq!((found.calls, found.secured_calls), (2, 2));
}

#[test]
fn a_service_of_which_only_callers_tell_is_seen_with_their_eyes() {
    let rows = stat(&[
        (connections(Reporter::Source, PAIR, "-"), opened(2)),
        (connections(Reporter::Source, PAIR, "UF"), closed(2)),
    ]);
    let found = traffic(&rows[0]);
    assert_eq!((found.opened, found.failed_connections, found.secured_calls), (2, 2, 2));
}

#[test]
fn denials_are_told() {
    let mut plain = connections(Reporter::Destination, PAIR, "DENY");
    plain.security = "none".to_owned();
    let unflagged = Series { flag: "-".to_owned(), ..plain.clone() };
    let rows = stat(&[(plain, closed(2)), (unflagged, opened(2))]);
    let found = traffic(&rows[0]);
    assert_eq!((found.denied, found.failed_connections), (2, 2));
    assert_eq!((found.calls, found.secured_calls), (2, 0));
}

#[test]
fn requests_have_routes_percentiles_and_failures() {
    let grpc = |status: &str| {
        let route = Route { route: "POST /s/m".to_owned(), code: 200, grpc_status: status.to_owned() };
        Series { route: Some(route), ..requests("", 200) }
    };
    let rows = stat(&[
        (requests("GET /", 200), took(1_000, 90)),
        (requests("GET /", 403), took(1_000, 5)),
        (requests("GET /", 503), took(100_000, 5)),
        (requests("PUT /", 0), took(7, 1)),
        (grpc("0"), took(7, 1)),
        (grpc("7"), took(7, 1)),
        (grpc("14"), took(7, 1)),
    ]);
    let routes: Vec<&str> = rows.iter().map(|row| row.route.as_str()).collect();
    assert_eq!(routes, ["", "GET /", "POST /s/m", "PUT /"]);
    let failed: Vec<u64> = rows.iter().map(|row| traffic(row).failed_requests).collect();
    assert_eq!(failed, [7, 5, 1, 1]);
    let get = traffic(&rows[1]);
    assert_eq!(get.requests, 100);
    assert!(get.p50_us.unwrap().abs_diff(1_000) <= 50, "{get:?}");
    assert!(get.p99_us.unwrap().abs_diff(100_000) <= 5_000, "{get:?}");
    assert_eq!(traffic(&rows[0]).requests, 104);
}

#[test]
fn open_connections_outlive_every_window() {
    let mut aggregate = Aggregate::default();
    let number = aggregate.number(connections(Reporter::Destination, PAIR, "-"));
    let (rows, _) = rows(&aggregate, &HashMap::from([(number, 4)]), (at(9_000), WINDOW));
    assert_eq!(traffic(&rows[0]).open, 4);
}
