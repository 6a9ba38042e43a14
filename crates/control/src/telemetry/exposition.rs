//! The page that Prometheus reads for the whole mesh (text format 0.0.4): Istio's names and labels
//! with sums since the control plane's beginning, and each proxy's own health under `weft_`. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use weft_wire::histogram::{ISTIO_BOUNDS, bound};
use weft_wire::proto::weft::v1::{Health, Party, Reporter, Series};

use super::aggregate::Aggregate;
use super::sums::{Sizes, Sums};

/// The page. `proxies` are those that are connected, by workload (`<namespace>/<name>`).
pub(crate) fn page(aggregate: &Aggregate, proxies: &BTreeMap<String, &Health>) -> String {
    let mut page = String::new();
    let [requests, connections] = by_labels(aggregate);
    counters(&mut page, &REQUESTS, &requests);
    histograms(&mut page, &requests);
    counters(&mut page, &CONNECTIONS, &connections);
    health(&mut page, proxies);
    page
}

type Sample = BTreeMap<String, Counted>;

/// What was counted since the beginning.
#[derive(Default)]
struct Counted {
    sums: Sums,
    sizes: Sizes,
}

/// The sums by Istio's labels, which know no routes: of requests, and of connections.
fn by_labels(aggregate: &Aggregate) -> [Sample; 2] {
    let mut samples = [Sample::new(), Sample::new()];
    for entry in aggregate.entries() {
        let kind = usize::from(entry.labels.route.is_none());
        let counted = samples[kind].entry(labels(&entry.labels)).or_default();
        counted.sums.add(&entry.total);
        counted.sizes.add(&entry.sizes.requests, &entry.sizes.responses);
    }
    samples
}

fn counters(page: &mut String, families: &[Family], samples: &Sample) {
    for (name, help, read) in families {
        head(page, name, "counter", help);
        for (labels, counted) in samples {
            let value = read(&counted.sums);
            if value > 0 {
                let _infallible = writeln!(page, "{name}{{{labels}}} {value}");
            }
        }
    }
}

fn histograms(page: &mut String, samples: &Sample) {
    let name = "istio_request_duration_milliseconds";
    head(page, name, "histogram", "How long requests took.");
    for (labels, Counted { sums, .. }) in samples {
        let within = |ms: f64, bucket: usize| bound(bucket).is_some_and(|us| us as f64 <= ms * 1e3);
        let below = |ms| total(sums.counts().filter(|(bucket, _)| within(ms, *bucket)).map(|(_, count)| count));
        let count = total(sums.counts().map(|(_, count)| count));
        histogram(page, (name, labels), below, (count, sums.duration_us as f64 / 1e3));
    }
    for (name, help, read) in SIZES {
        head(page, name, "histogram", help);
        for (labels, counted) in samples {
            let (sizes, sum) = read(counted);
            let bounded = || ISTIO_BOUNDS.into_iter().zip(sizes.iter().copied());
            let below = |bytes| total(bounded().filter(|(bound, _)| *bound <= bytes).map(|(_, count)| count));
            histogram(page, (name, labels), below, (total(sizes.iter().copied()), sum as f64));
        }
    }
}

fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// One histogram: how many values are `below` each bound or equal to it, their number and their sum.
fn histogram(page: &mut String, (name, labels): (&str, &str), below: impl Fn(f64) -> u64, (count, sum): (u64, f64)) {
    for bound in ISTIO_BOUNDS {
        let _infallible = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {}", below(bound));
    }
    let _infallible = writeln!(
        page,
        "{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}"
    );
}

/// The proxies' own counters. A family's rows stand together, as the format asks.
fn health(page: &mut String, proxies: &BTreeMap<String, &Health>) {
    let mut families: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (workload, health) in proxies {
        let memory = ("weft_proxy_anonymous_bytes", &health.anonymous_bytes);
        let own = health.process.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.filter(|(name, _)| is_metric_name(name)).chain([memory]) {
            families.entry(name).or_default().push((workload, *value));
        }
    }
    head(page, "weft_proxies", "gauge", "Proxies that report.");
    let _infallible = writeln!(page, "weft_proxies {}", proxies.len());
    for (name, rows) in families {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _infallible = writeln!(page, "# TYPE {name} {kind}");
        for (workload, value) in rows {
            let (namespace, workload) = workload.split_once('/').unwrap_or_default();
            let mut labels = String::new();
            push(&mut labels, "workload", workload);
            push(&mut labels, "namespace", namespace);
            let _infallible = writeln!(page, "{name}{{{labels}}} {value}");
        }
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _infallible = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The labels of Istio's standard metrics, in the order in which proxies write them.
fn labels(series: &Series) -> String {
    let mut text = String::new();
    for (side, party) in [("source", &series.source), ("destination", &series.destination)] {
        let unknown = Party::default();
        let party = party.as_ref().unwrap_or(&unknown);
        for (name, value) in [
            ("workload", &*party.workload),
            ("workload_namespace", &*party.namespace),
            ("principal", &*party.principal),
            ("app", &*party.app),
            ("version", ""),
            ("canonical_service", &*party.app),
            ("canonical_revision", "latest"),
        ] {
            push(&mut text, &format!("{side}_{name}"), known(value));
        }
    }
    let reporter = match series.reporter() {
        Reporter::Source => "source",
        Reporter::Destination => "destination",
    };
    let service = series.service.clone().unwrap_or_default();
    for (name, value) in [
        ("reporter", reporter),
        ("destination_service", known(&service.host)),
        ("destination_service_name", known(&service.name)),
        ("destination_service_namespace", known(&service.namespace)),
        ("request_protocol", known(&series.protocol)),
        ("response_flags", known(&series.flag)),
        ("connection_security_policy", known(&series.security)),
    ] {
        push(&mut text, name, value);
    }
    if let Some(route) = &series.route {
        push(&mut text, "response_code", &route.code.to_string());
        push(&mut text, "grpc_response_status", &route.grpc_status);
    }
    text
}

fn known(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// Prometheus's data model: `[a-zA-Z_:][a-zA-Z0-9_:]*`; ours have no colon.
fn is_metric_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(allowed)
}

fn push(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

type Family = (&'static str, &'static str, fn(&Sums) -> u64);

/// Name, help, and how to read the counts and the sum of sizes.
type SizeFamily = (&'static str, &'static str, fn(&Counted) -> (&[u64], u64));

const SIZES: [SizeFamily; 2] = [
    ("istio_request_bytes", "Bytes of requests, heads included.", |c| (&c.sizes.requests, c.sums.from_caller_bytes)),
    ("istio_response_bytes", "Bytes of responses, heads included.", |c| (&c.sizes.responses, c.sums.from_callee_bytes)),
];
const REQUESTS: [Family; 1] = [("istio_requests_total", "Requests.", |s| s.requests)];
const CONNECTIONS: [Family; 4] = [
    ("istio_tcp_connections_opened_total", "Connections opened.", |s| s.opened),
    ("istio_tcp_connections_closed_total", "Connections closed.", |s| s.closed),
    ("istio_tcp_received_bytes_total", "Bytes of callers.", |s| s.from_caller_bytes),
    ("istio_tcp_sent_bytes_total", "Bytes of callees.", |s| s.from_callee_bytes),
];

#[cfg(test)]
mod tests;
