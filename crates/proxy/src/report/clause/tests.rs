//! What filters admit.

use std::time::SystemTime;

use super::*;
use crate::metrics::{Reporter, ServiceName};

fn labels() -> Labels {
    let party = |name: &str| {
        let id: SpiffeId = format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap();
        Party { workload: format!("{name}-x1").into(), ..Party::of_identity(&id) }
    };
    let service = ServiceName { host: "pay.shop.svc".into(), name: "pay".into(), namespace: "shop".into() };
    Labels {
        reporter: Reporter::Source,
        source: party("web"),
        destination: party("pay"),
        service,
        protocol: "http",
        security: "mutual_tls",
    }
}

fn admits(filter: TapFilter, seen: &Seen<'_>) -> bool {
    Clauses::of(&filter).admit(seen)
}

#[test]
fn each_clause_must_hold() {
    let labels = labels();
    let seen = Seen { labels: &labels, method: "GET", path: "/charge/1?x=/y", status: 503, is_request: true };
    let check = |field: fn(&mut TapFilter) -> &mut String, text: &str, expected: bool| {
        let mut filter = TapFilter::default();
        field(&mut filter).push_str(text);
        assert_eq!(admits(filter, &seen), expected, "{text:?}");
    };
    for (text, expected) in
        [("", true), ("web", true), ("pay-x1", true), ("shop/pay", true), ("default/pay", false), ("we", false)]
    {
        check(|f| &mut f.workload, text, expected);
    }
    for (text, expected) in [("get", true), ("GET", true), ("POST", false)] {
        check(|f| &mut f.method, text, expected);
    }
    for (text, expected) in [("/charge/1", true), ("/charge/*", true), ("*", true), ("/charge", false), ("/c*y", false)]
    {
        check(|f| &mut f.path, text, expected);
    }
    for (text, expected) in
        [("503", true), ("5xx", true), ("4xx", false), ("200", false), ("none", false), ("xx", false)]
    {
        check(|f| &mut f.status, text, expected);
    }
    let id = "cluster.local/ns/shop/sa/web";
    for (text, expected) in [(id, true), (&format!("spiffe://{id}"), true), ("cluster.local/ns/shop/sa/we", false)] {
        check(|f| &mut f.identity, text, expected);
    }
}

#[test]
fn a_connection_has_neither_path_nor_status() {
    let record = AccessRecord::of_connection(labels(), SystemTime::now());
    let seen = Seen::of(&record);
    assert!(admits(TapFilter::default(), &seen));
    assert!(admits(TapFilter { workload: "web".to_owned(), ..TapFilter::default() }, &seen));
    for filter in [
        TapFilter { path: "*".to_owned(), ..TapFilter::default() },
        TapFilter { status: "0".to_owned(), ..TapFilter::default() },
        TapFilter { method: "GET".to_owned(), ..TapFilter::default() },
    ] {
        assert!(!admits(filter, &seen));
    }
}
