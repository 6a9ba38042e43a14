//! The page as Prometheus reads it.

use super::*;
use crate::telemetry::aggregate::Age;
use crate::telemetry::fixtures::{at, connections, opened, requests, took};

fn value(page: &str, begins: &str, holds: &str) -> Vec<f64> {
    let lines = page.lines().filter(|line| line.starts_with(begins) && line.contains(holds));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn istios_names_tell_the_sums() {
    let mut aggregate = Aggregate::default();
    let mut count = |labels, delta| {
        let number = aggregate.number(labels);
        aggregate.add(at(1), number, &delta, Age::Fresh);
    };
    count(requests("GET /a", 200), took(3_000, 2));
    count(requests("GET /b", 200), took(700, 1));
    count(requests("GET /b", 500), took(30_000_000_000, 1));
    count(connections(Reporter::Source, ("we\"b", "api"), "-"), opened(3));
    let page = page(&aggregate, &BTreeMap::new());
    assert_eq!(value(&page, "istio_requests_total{", "response_code=\"200\""), [3.0], "{page}");
    assert_eq!(value(&page, "istio_requests_total{", "response_code=\"500\""), [1.0]);
    let bucket = |le: &str| {
        value(
            &page,
            "istio_request_duration_milliseconds_bucket{",
            &format!("\"200\",grpc_response_status=\"\",le=\"{le}\""),
        )
    };
    assert_eq!((bucket("0.5"), bucket("1"), bucket("5"), bucket("+Inf")), (vec![0.0], vec![1.0], vec![3.0], vec![3.0]));
    let beyond = value(&page, "istio_request_duration_milliseconds_bucket{", "le=\"3600000\"");
    assert_eq!(beyond, [3.0, 0.0], "what took longer than an hour is only in +Inf");
    assert_eq!(value(&page, "istio_request_duration_milliseconds_sum{", "\"200\""), [6.7]);
    assert_eq!(value(&page, "istio_tcp_connections_opened_total{", "source_app=\"we\\\"b\""), [3.0]);
    assert!(!page.contains("GET /a"), "routes are no labels of Istio's");
}

#[test]
fn each_proxy_tells_of_itself() {
    let process = [("weft_denied_total".to_owned(), 4), ("bad name".to_owned(), 1)].into();
    let health = Health { anonymous_bytes: 77, process, ..Health::default() };
    let proxies = BTreeMap::from([("default/web-1".to_owned(), &health), ("shop/api-1".to_owned(), &health)]);
    let page = page(&Aggregate::default(), &proxies);
    assert_eq!(value(&page, "weft_proxies ", ""), [2.0]);
    assert_eq!(value(&page, "weft_denied_total{", "workload=\"web-1\",namespace=\"default\""), [4.0]);
    assert_eq!(value(&page, "weft_proxy_anonymous_bytes{", ""), [77.0, 77.0]);
    assert_eq!(page.matches("# TYPE weft_denied_total counter").count(), 1);
    assert!(!page.contains("bad name"));
}
