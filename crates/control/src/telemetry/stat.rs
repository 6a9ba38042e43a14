//! Golden signals of services and their routes, out of series. Pure.
//!
//! The callee's proxies are believed, for they know who called and how. What never reached them is
//! added from the callers' proxies; a service whose proxies say nothing (it has none, or is outside
//! of the mesh) is seen with its callers' eyes alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use weft_wire::histogram::quantile;
use weft_wire::proto::weft::v1::{Reporter, Series, ServiceName, StatRow, Traffic};

use super::aggregate::{Aggregate, NO_FLAG};
use super::sums::Sums;

/// The rows of the last `window`, services by namespace and name, each followed by its routes; and
/// what they cover. `open` tells the connections that are open now, by series.
pub(crate) fn rows(
    aggregate: &Aggregate,
    open: &HashMap<u32, u64>,
    (now, window): (Duration, Duration),
) -> (Vec<StatRow>, Duration) {
    let (counts, covered) = counted(aggregate, open, (now, window));
    let told: HashSet<(&str, &str)> = counts.iter().filter(|c| is_callees(c.labels)).map(|c| place(c.labels)).collect();
    let mut services: BTreeMap<(&str, &str), Rows> = BTreeMap::new();
    for count in &counts {
        let Some(view) = view(count.labels, &told) else { continue };
        let rows = services.entry(place(count.labels)).or_default();
        rows.name = count.labels.service.as_ref();
        rows.whole.add(count, view);
        if let Some(route) = &count.labels.route {
            rows.routes.entry(&route.route).or_default().add(count, view);
        }
    }
    (services.into_values().flat_map(Rows::finish).collect(), covered)
}

/// One series in a window.
pub(super) struct Count<'a> {
    pub(super) labels: &'a Series,
    pub(super) sums: Sums,
    pub(super) open: u64,
}

/// Series that were counted in a window or have open connections, and what the window covers.
pub(super) fn counted<'a>(
    aggregate: &'a Aggregate,
    open: &HashMap<u32, u64>,
    (now, window): (Duration, Duration),
) -> (Vec<Count<'a>>, Duration) {
    let (mut sums, covered) = aggregate.window(now, window);
    for number in open.keys() {
        sums.entry(*number).or_default();
    }
    let mut counts: Vec<_> = sums.into_iter().collect();
    counts.sort_by_key(|(number, _)| *number);
    let count = |(number, sums): (u32, Sums)| {
        let open = open.get(&number).copied().unwrap_or_default();
        aggregate.labels(number).map(|labels| Count { labels, sums, open })
    };
    (counts.into_iter().filter_map(count).collect(), covered)
}

/// How a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Wholly.
    Whole,
    /// As calls that never reached the callee.
    Lost,
}

/// `told` are the services of which callees tell.
pub(super) fn view(labels: &Series, told: &HashSet<(&str, &str)>) -> Option<View> {
    if is_callees(labels) || !told.contains(&place(labels)) {
        return Some(View::Whole);
    }
    never_arrived(labels).then_some(View::Lost)
}

/// Whether no proxy of the callee can have seen it.
pub(super) fn never_arrived(labels: &Series) -> bool {
    NEVER_ARRIVED.contains(&labels.flag.as_str())
}

/// Whether the callee's proxy tells.
pub(super) fn is_callees(labels: &Series) -> bool {
    labels.reporter() == Reporter::Destination
}

/// A service's namespace and name: hosts differ with the trust domain.
pub(super) fn place(labels: &Series) -> (&str, &str) {
    labels.service.as_ref().map(|s| (s.namespace.as_str(), s.name.as_str())).unwrap_or_default()
}

#[derive(Default)]
struct Rows<'a> {
    name: Option<&'a ServiceName>,
    whole: Meter,
    routes: BTreeMap<&'a str, Meter>,
}

impl Rows<'_> {
    fn finish(self) -> Vec<StatRow> {
        let name = self.name;
        let row = |(route, meter): (&str, Meter)| StatRow {
            service: name.cloned(),
            route: route.to_owned(),
            traffic: Some(meter.finish()),
            ..StatRow::default()
        };
        std::iter::once(("", self.whole)).chain(self.routes).map(row).collect()
    }
}

/// Traffic being added up.
#[derive(Debug, Default)]
pub(super) struct Meter {
    traffic: Traffic,
    sums: Sums,
}

impl Meter {
    /// Adds a series.
    pub(super) fn add(&mut self, count: &Count<'_>, view: View) {
        let (labels, sums) = (count.labels, &count.sums);
        let traffic = &mut self.traffic;
        traffic.requests += sums.requests;
        traffic.closed += sums.closed;
        let failed = is_failed(labels);
        if failed {
            traffic.failed_requests += sums.requests;
            traffic.failed_connections += sums.closed;
        }
        if labels.flag == DENIED {
            traffic.denied += sums.requests + sums.closed;
        }
        match view {
            View::Lost => traffic.opened += sums.closed,
            View::Whole => {
                traffic.opened += sums.opened;
                traffic.open += count.open;
                traffic.from_caller_bytes += sums.from_caller_bytes;
                traffic.from_callee_bytes += sums.from_callee_bytes;
                let calls = sums.requests + sums.opened;
                traffic.calls += calls;
                if is_secured(labels) {
                    traffic.secured_calls += calls;
                }
            }
        }
        self.sums.add(sums);
    }

    /// The traffic, with its percentiles.
    pub(super) fn finish(mut self) -> Traffic {
        let percentile = |share| quantile(self.sums.counts(), share);
        self.traffic.p50_us = percentile(0.5);
        self.traffic.p95_us = percentile(0.95);
        self.traffic.p99_us = percentile(0.99);
        self.traffic
    }
}

/// Whether the callee, or the mesh, failed: a refused caller is no failure of a service's requests,
/// but a connection has no other way to say that it was of no use.
fn is_failed(labels: &Series) -> bool {
    match &labels.route {
        None => labels.flag != NO_FLAG,
        Some(route) if !route.grpc_status.is_empty() => SERVER_FAULTS.contains(&route.grpc_status.as_str()),
        Some(route) => route.code == 0 || route.code >= 500,
    }
}

/// Callers' proxies can't tell by Istio's label; that they verified whom they called tells.
pub(super) fn is_secured(labels: &Series) -> bool {
    let verified = labels.destination.as_ref().is_some_and(|party| !party.principal.is_empty());
    labels.security == MUTUAL_TLS || (!is_callees(labels) && verified)
}

/// Istio's name for it.
pub(super) const MUTUAL_TLS: &str = "mutual_tls";
/// The flag of what policy denied.
const DENIED: &str = "DENY";
/// Flags of calls that no proxy of the callee can have seen: no such address or port, no endpoint,
/// another identity than the one that was expected.
const NEVER_ARRIVED: [&str; 3] = ["NR", "UH", "CERT"];
/// gRPC statuses that blame the server: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const SERVER_FAULTS: [&str; 5] = ["2", "4", "13", "14", "15"];

#[cfg(test)]
mod tests;
