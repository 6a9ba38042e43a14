//! Counters of the data thread: plain cells, looked up once for a connection and read when someone
//! scrapes. Names and labels are Istio's, so that its dashboards work; `weft_` is the proxy's own
//! health. Knows nothing of sockets.

mod datagrams;
mod requests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use weft_identity::Bearer;
use weft_mesh::SpiffeId;
use weft_mesh::decide::{Decision, Unenforced};

use crate::limits::METRIC_SERIES;
use crate::report::Reported;

pub use datagrams::Datagrams;
pub use requests::{Outcome, RequestSeries, Requests};

/// All counters of one data thread.
#[derive(Default)]
pub struct Metrics {
    tcp: RefCell<HashMap<(Labels, &'static str), Rc<TcpSeries>>>,
    /// Requests.
    pub requests: Requests,
    /// The proxy's own health.
    pub process: Process,
}

/// Counters of the proxy itself.
#[derive(Default)]
pub struct Process {
    /// Connections of the program that are open.
    pub outbound_open: Cell<u64>,
    /// Connections of callers that are open, idle ones among them.
    pub inbound_open: Cell<u64>,
    /// Connections that went to the outside of the mesh.
    pub passthrough: Cell<u64>,
    /// Handshakes made as a client.
    pub handshakes_client: Cell<u64>,
    /// Handshakes made as a server.
    pub handshakes_server: Cell<u64>,
    /// Handshakes that failed, either side.
    pub handshakes_failed: Cell<u64>,
    /// Exchanges that found a warm connection.
    pub tunnels_warm: Cell<u64>,
    /// Connections to other proxies that wait.
    pub tunnels_spare: Cell<u64>,
    /// Connections and streams of callers whose address had half of all.
    pub crowded: Cell<u64>,
    /// Denials by policy.
    pub denied: Cell<u64>,
    /// Calls that a rule of an AUDIT policy matched.
    pub audited: Cell<u64>,
    /// Calls that would be admitted if dry-run policies were enforced.
    pub dry_run_allowed: Cell<u64>,
    /// Calls that would be denied if dry-run policies were enforced.
    pub dry_run_denied: Cell<u64>,
    /// DNS questions.
    pub dns_questions: Cell<u64>,
    /// Other datagrams.
    pub udp: Datagrams,
    /// Access records that were dropped because nobody read fast enough.
    pub access_dropped: Cell<u64>,
}

/// Adds one to a counter.
pub fn count(counter: &Cell<u64>) {
    count_many(counter, 1);
}

/// Adds so many to a counter.
pub(crate) fn count_many(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

/// One more of something that is open, until dropped; a panic drops it as well.
pub(crate) struct Gauged<'a>(&'a Cell<u64>);

impl<'a> Gauged<'a> {
    /// Adds one to `gauge`.
    pub(crate) fn new(gauge: &'a Cell<u64>) -> Self {
        count(gauge);
        Self(gauge)
    }
}

impl Drop for Gauged<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// One workload as labels name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Party {
    /// The workload.
    pub workload: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The label `app`: its service.
    pub app: Arc<str>,
    /// Who it is, only if TLS proved it.
    pub principal: Option<SpiffeId>,
    /// The kind of the resource of which `workload` is the name, such as `Deployment`, where its own
    /// certificate says so; else empty.
    pub kind: Arc<str>,
}

impl Party {
    /// Somebody of whom nothing is known.
    pub fn unknown() -> Self {
        let unknown: Arc<str> = Arc::from(UNKNOWN);
        let kind = Arc::default();
        Self { workload: unknown.clone(), namespace: unknown.clone(), app: unknown, principal: None, kind }
    }

    /// What an identity tells of its bearer: on one machine the service account is the workload's name.
    pub fn of_identity(id: &SpiffeId) -> Self {
        let account: Arc<str> = Arc::from(id.service_account());
        Self {
            workload: account.clone(),
            namespace: Arc::from(id.namespace()),
            app: account,
            principal: Some(id.clone()),
            kind: Arc::default(),
        }
    }

    /// Who it is, as logs tell it.
    pub(crate) fn peer(&self) -> &str {
        self.principal.as_ref().map_or(UNKNOWN, SpiffeId::as_str)
    }

    /// A caller whose certificate was verified: what its authority says of it, or else what its identity tells.
    pub fn of_caller(id: &SpiffeId, bearer: Option<Bearer>) -> Self {
        let party = Self::of_identity(id);
        match bearer {
            Some(Bearer { workload, kind, app }) => {
                Self { workload: workload.into(), app: app.into(), kind: kind.into(), ..party }
            }
            None => party,
        }
    }
}

/// The service that was called, as labels name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// The full name.
    pub host: Arc<str>,
    /// The short name.
    pub name: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
}

/// Whose view a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The caller's proxy.
    Source,
    /// The callee's proxy.
    Destination,
}

impl Reporter {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// Everything that tells one series from another, save the response flags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Whose view.
    pub reporter: Reporter,
    /// The caller.
    pub source: Party,
    /// The workload that was called.
    pub destination: Party,
    /// The service that was called.
    pub service: ServiceName,
    /// `tcp`, `http`, `grpc`.
    pub protocol: &'static str,
    /// `mutual_tls` or `none`; the caller's side says `unknown`, as Istio does.
    pub security: &'static str,
}

/// The counters of one series of TCP connections.
#[derive(Default)]
pub struct TcpSeries {
    opened: Cell<u64>,
    closed: Cell<u64>,
    from_caller: Cell<u64>,
    from_callee: Cell<u64>,
    /// Connections that are open now.
    open: Cell<u64>,
    reported: Reported,
}

/// The counters of one series of TCP connections, read at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TcpCounts {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) from_caller: u64,
    pub(crate) from_callee: u64,
    pub(crate) open: u64,
}

/// One connection being counted: its own bytes, and those of its series.
pub struct Meter {
    series: Rc<TcpSeries>,
    from_caller: Cell<u64>,
    from_callee: Cell<u64>,
}

impl Meter {
    /// Counts bytes of the caller.
    pub fn from_caller(&self, bytes: u64) {
        self.from_caller.set(self.from_caller.get() + bytes);
        self.series.from_caller.set(self.series.from_caller.get() + bytes);
    }

    /// Counts bytes of the callee.
    pub fn from_callee(&self, bytes: u64) {
        self.from_callee.set(self.from_callee.get() + bytes);
        self.series.from_callee.set(self.series.from_callee.get() + bytes);
    }

    /// Counts for no series: its bytes belong to a request.
    pub fn detached() -> Self {
        Self { series: Rc::default(), from_caller: Cell::new(0), from_callee: Cell::new(0) }
    }

    /// Bytes of caller and callee on this connection so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.from_caller.get(), self.from_callee.get())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.series.open.set(self.series.open.get().saturating_sub(1));
    }
}

impl Metrics {
    /// A connection opens; drop nothing, call [`Metrics::close`] at its end.
    pub fn open(&self, labels: &Labels) -> Meter {
        let series = self.tcp(labels, NO_FLAG);
        count(&series.opened);
        count(&series.open);
        Meter { series, from_caller: Cell::new(0), from_callee: Cell::new(0) }
    }

    /// A connection that was opened ends; `flag` says how.
    pub fn close(&self, labels: &Labels, flag: &'static str) {
        count(&self.tcp(labels, flag).closed);
    }

    fn tcp(&self, labels: &Labels, flag: &'static str) -> Rc<TcpSeries> {
        let mut tcp = self.tcp.borrow_mut();
        if let Some(series) = tcp.get(&(labels.clone(), flag)) {
            return series.clone();
        }
        let labels = if tcp.len() < METRIC_SERIES { labels.clone() } else { overflow(labels.reporter) };
        tcp.entry((labels, flag)).or_default().clone()
    }

    /// Looks at every series of TCP connections, with its response flag.
    pub(crate) fn each_tcp(&self, mut look: impl FnMut(&Labels, &'static str, TcpCounts, &Reported)) {
        for ((labels, flag), series) in self.tcp.borrow().iter() {
            let counts = TcpCounts {
                opened: series.opened.get(),
                closed: series.closed.get(),
                from_caller: series.from_caller.get(),
                from_callee: series.from_callee.get(),
                open: series.open.get(),
            };
            look(labels, flag, counts, &series.reported);
        }
    }

    /// The page that Prometheus reads (text format 0.0.4).
    pub fn render(&self) -> String {
        let mut page = String::new();
        for (name, help, read) in TCP_FAMILIES {
            let _infallible = writeln!(page, "# HELP {name} {help}\n# TYPE {name} counter");
            for ((labels, flag), series) in self.tcp.borrow().iter() {
                let value = read(series);
                if value > 0 {
                    let _infallible = writeln!(page, "{name}{{{}}} {value}", label_text(labels, flag));
                }
            }
        }
        self.requests.render(&mut page);
        self.process.render(&mut page);
        page
    }
}

impl Process {
    /// Name, type, help and value of each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        let own = [
            ("weft_outbound_connections", "gauge", "Open connections of the program.", &self.outbound_open),
            ("weft_inbound_connections", "gauge", "Open connections of callers.", &self.inbound_open),
            ("weft_passthrough_total", "counter", "Connections to the outside of the mesh.", &self.passthrough),
            ("weft_client_handshakes_total", "counter", "TLS handshakes made as a client.", &self.handshakes_client),
            ("weft_server_handshakes_total", "counter", "TLS handshakes made as a server.", &self.handshakes_server),
            ("weft_failed_handshakes_total", "counter", "TLS handshakes that failed.", &self.handshakes_failed),
            ("weft_warm_tunnels_total", "counter", "Exchanges that found a warm connection.", &self.tunnels_warm),
            ("weft_spare_tunnels", "gauge", "Connections to other proxies that wait.", &self.tunnels_spare),
            (
                "weft_crowded_total",
                "counter",
                "Connections and streams refused because their address had half of all.",
                &self.crowded,
            ),
            ("weft_denied_total", "counter", "Connections and requests that policy denied.", &self.denied),
            ("weft_policy_audited_total", "counter", "Calls that AUDIT policies matched.", &self.audited),
            (
                "weft_policy_dry_run_allowed_total",
                "counter",
                "Calls that would be allowed if dry-run policies were enforced.",
                &self.dry_run_allowed,
            ),
            (
                "weft_policy_dry_run_denied_total",
                "counter",
                "Calls that would be denied if dry-run policies were enforced.",
                &self.dry_run_denied,
            ),
            ("weft_dns_questions_total", "counter", "DNS questions.", &self.dns_questions),
            ("weft_access_dropped_total", "counter", "Access records that were dropped.", &self.access_dropped),
        ];
        let own = own.map(|(name, kind, help, value)| (name, kind, help, value.get()));
        own.into_iter().chain(self.udp.rows())
    }

    /// Counts what was said of one call beside its verdict.
    pub(crate) fn count_unenforced(&self, said: &Unenforced<'_>) {
        if !said.audit.is_empty() {
            count(&self.audited);
        }
        match said.dry_run.map(|verdict| verdict.decision) {
            Some(Decision::Allow) => count(&self.dry_run_allowed),
            Some(Decision::Deny) => count(&self.dry_run_denied),
            None => {}
        }
    }

    fn render(&self, page: &mut String) {
        for (name, kind, help, value) in self.rows() {
            let _infallible = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

/// Labels for all that came after the bound.
fn overflow(reporter: Reporter) -> Labels {
    let other: Arc<str> = Arc::from("other");
    let party = || other.clone();
    let party = Party { workload: party(), namespace: party(), app: party(), ..Party::unknown() };
    let service = ServiceName { host: other.clone(), name: other.clone(), namespace: other };
    Labels { reporter, source: party.clone(), destination: party, service, protocol: "tcp", security: UNKNOWN }
}

fn label_text(labels: &Labels, flag: &str) -> String {
    let mut text = String::new();
    let principal = |party: &Party| party.principal.as_ref().map_or(UNKNOWN.to_owned(), ToString::to_string);
    for (side, party) in [("source", &labels.source), ("destination", &labels.destination)] {
        for (name, value) in [
            ("workload", &*party.workload),
            ("workload_namespace", &*party.namespace),
            ("principal", &*principal(party)),
            ("app", &*party.app),
            ("version", UNKNOWN),
            ("canonical_service", &*party.app),
            ("canonical_revision", "latest"),
        ] {
            push_label(&mut text, &format!("{side}_{name}"), value);
        }
    }
    for (name, value) in [
        ("reporter", labels.reporter.as_str()),
        ("destination_service", &*labels.service.host),
        ("destination_service_name", &*labels.service.name),
        ("destination_service_namespace", &*labels.service.namespace),
        ("request_protocol", labels.protocol),
        ("response_flags", flag),
        ("connection_security_policy", labels.security),
    ] {
        push_label(&mut text, name, value);
    }
    text
}

fn push_label(text: &mut String, name: &str, value: &str) {
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

/// The value of `response_flags` when nothing went wrong.
pub const NO_FLAG: &str = "-";
const UNKNOWN: &str = "unknown";

/// Name, type, help and value.
type Row = (&'static str, &'static str, &'static str, u64);

type Family = (&'static str, &'static str, fn(&TcpSeries) -> u64);

const TCP_FAMILIES: [Family; 4] = [
    ("istio_tcp_connections_opened_total", "Connections opened.", |s| s.opened.get()),
    ("istio_tcp_connections_closed_total", "Connections closed.", |s| s.closed.get()),
    ("istio_tcp_received_bytes_total", "Bytes of callers.", |s| s.from_caller.get()),
    ("istio_tcp_sent_bytes_total", "Bytes of callees.", |s| s.from_callee.get()),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(app: &str) -> Labels {
        let mut labels = overflow(Reporter::Source);
        labels.source.app = Arc::from(app);
        labels
    }

    #[test]
    fn a_page_shows_what_was_counted() {
        let metrics = Metrics::default();
        let meter = metrics.open(&labels("we\"b"));
        meter.from_caller(7);
        metrics.close(&labels("we\"b"), "UC");
        let page = metrics.render();
        assert!(page.contains("istio_tcp_connections_opened_total{source_workload=\"other\""), "{page}");
        assert!(page.contains("source_app=\"we\\\"b\""), "{page}");
        assert!(page.contains("response_flags=\"UC\""), "{page}");
        assert!(page.contains("istio_tcp_received_bytes_total{"), "{page}");
        assert_eq!(meter.bytes(), (7, 0));
    }

    #[test]
    fn series_are_bounded() {
        let metrics = Metrics::default();
        for n in 0..METRIC_SERIES + 100 {
            metrics.open(&labels(&n.to_string()));
        }
        assert_eq!(metrics.tcp.borrow().len(), METRIC_SERIES + 1);
    }
}
