//! The page as Prometheus reads it.

use super::*;
use weft_wire::proto::weft::v1::Delta;

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
fn sizes_are_told_by_istios_bounds() {
    let mut aggregate = Aggregate::default();
    for (route, sizes, bytes) in [("GET /a", vec![0, 0, 0, 2], 14), ("GET /b", vec![0; 21], 0), ("GET /c", vec![1], 0)]
    {
        let delta =
            Delta { request_sizes: sizes, from_caller_bytes: bytes, response_sizes: vec![0, 3], ..took(700, 3) };
        let number = aggregate.number(requests(route, 200));
        aggregate.add(at(1), number, &delta, Age::Fresh);
    }
    let number = aggregate.number(requests("GET /b", 200));
    let most = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    aggregate.add(at(1), number, &Delta { request_sizes: most, ..took(700, 5) }, Age::Fresh);
    let page = page(&aggregate, &BTreeMap::new());
    let bucket = |name: &str, le: &str| value(&page, &format!("{name}_bucket{{"), &format!("le=\"{le}\"")).pop();
    let of = |le| bucket("istio_request_bytes", le);
    assert_eq!(
        (of("0.5"), of("5"), of("10"), of("3600000"), of("+Inf")),
        (Some(1.0), Some(1.0), Some(3.0), Some(3.0), Some(8.0)),
        "{page}"
    );
    assert_eq!(value(&page, "istio_request_bytes_sum{", ""), [14.0]);
    assert_eq!(value(&page, "istio_request_bytes_count{", ""), [8.0]);
    assert_eq!((bucket("istio_response_bytes", "0.5"), bucket("istio_response_bytes", "1")), (Some(0.0), Some(9.0)));
    assert_eq!(page.matches("# TYPE istio_response_bytes histogram").count(), 1);
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
