//! Series as proxies tell them, for tests.

use std::time::Duration;

use weft_wire::histogram::bucket;
use weft_wire::proto::weft::v1::{Delta, Party, Reporter, Route, Series, ServiceName};

pub(crate) const WINDOW: Duration = Duration::from_secs(60);

pub(crate) fn party(app: &str) -> Party {
    let text = app.to_owned();
    let principal = format!("spiffe://cluster.local/ns/default/sa/{app}");
    Party { workload: text.clone(), namespace: "default".to_owned(), app: text, principal, kind: String::new() }
}

/// Connections of `from` to `to`, ended by `flag`, as `reporter` sees them.
pub(crate) fn connections(reporter: Reporter, (from, to): (&str, &str), flag: &str) -> Series {
    Series {
        id: 0,
        reporter: reporter.into(),
        source: Some(party(from)),
        destination: Some(party(to)),
        service: Some(ServiceName {
            host: format!("{to}.default.svc.cluster.local"),
            name: to.to_owned(),
            namespace: "default".to_owned(),
        }),
        protocol: "tcp".to_owned(),
        security: if reporter == Reporter::Destination { "mutual_tls" } else { "unknown" }.to_owned(),
        flag: flag.to_owned(),
        route: None,
    }
}

/// Requests of `web` to `api`, as the callee sees them.
pub(crate) fn requests(route: &str, code: u32) -> Series {
    let route = Route { route: route.to_owned(), code, grpc_status: String::new() };
    let connections = connections(Reporter::Destination, ("web", "api"), "-");
    Series { protocol: "http".to_owned(), route: Some(route), ..connections }
}

pub(crate) fn opened(count: u64) -> Delta {
    Delta { opened: count, ..Delta::default() }
}

pub(crate) fn closed(count: u64) -> Delta {
    Delta { closed: count, ..Delta::default() }
}

/// Requests that took `us` each.
pub(crate) fn took(us: u64, count: u64) -> Delta {
    Delta {
        requests: count,
        duration_us: us * count,
        buckets: vec![bucket(us) as u32],
        counts: vec![count],
        ..Delta::default()
    }
}

pub(crate) fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
