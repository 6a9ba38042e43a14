//! `weft stat`: golden signals of services and of the routes that were seen; of a cluster's resources
//! in `resources`.

mod resources;

use std::process::ExitCode;

use serde::Serialize;
use weft_wire::proto::weft::v1::{ServiceName, StatRequest, StatResponse, StatRow, Traffic};

use crate::args::{StatArgs, TableFormat, nearest_kind};
use crate::failure::Failure;
use crate::figures::{self, Tcp};
use crate::home::Mesh;
use crate::{client, print};

/// Prints the signals of the window.
pub(crate) fn run(mesh: &Mesh, args: &StatArgs) -> Result<ExitCode, Failure> {
    let runtime = crate::runtime::of_this_thread()?;
    if let Some(resources) = super::resources(&args.what)? {
        return runtime.block_on(resources::run(mesh, args, &resources)).map(|()| ExitCode::SUCCESS);
    }
    let window_seconds = args.window.window;
    let answer = runtime.block_on(async {
        let mut mesh = client::observe(mesh).await?;
        let answer = mesh.stat(StatRequest { window_seconds, ..StatRequest::default() }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| client::refused("read the signals", &status))
    })?;
    let report = Report::of(answer, window_seconds, |name| {
        args.scope.holds(&name.namespace) && args.what.first().is_none_or(|only| is_called(name, only))
    });
    match args.output {
        TableFormat::Json => print::json(&report),
        TableFormat::Table | TableFormat::Wide if report.services.is_empty() => return none(mesh, &args.what),
        TableFormat::Table | TableFormat::Wide => report.print(),
    }
    Ok(ExitCode::SUCCESS)
}

/// `only` is NAME or NAMESPACE/NAME.
fn is_called(name: &ServiceName, only: &str) -> bool {
    match only.split_once('/') {
        Some((namespace, service)) => namespace == name.namespace && service == name.name,
        None => only == name.name,
    }
}

/// Nothing to show: the mesh is young, or the word is wrong.
fn none(mesh: &Mesh, what: &[String]) -> Result<ExitCode, Failure> {
    let first = match mesh {
        Mesh::Local(_) => "start one with: weft run NAME -- PROGRAM",
        Mesh::Cluster(_) => "ask for a kind of resources: weft stat deploy -n NAMESPACE",
    };
    let Some(word) = what.first() else {
        print::note(&format!("weft: no services; {first}"));
        return Ok(ExitCode::SUCCESS);
    };
    let hint = match (mesh, nearest_kind(word)) {
        (Mesh::Cluster(_), Some(kind)) => {
            format!("did you mean the kind {kind}? weft stat {kind}; or see all services: weft stat")
        }
        _ => "see all services: weft stat".to_owned(),
    };
    Err(Failure::new(format!("no service {word:?} is known")).hint(hint))
}

#[derive(Debug, Serialize)]
struct Report {
    window_seconds: u32,
    covered_seconds: f64,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    namespace: String,
    service: String,
    host: String,
    #[serde(flatten)]
    signals: Signals,
    routes: Vec<Route>,
}

#[derive(Debug, Serialize)]
struct Route {
    route: String,
    #[serde(flatten)]
    signals: Signals,
}

#[derive(Debug, Serialize)]
struct Signals {
    success_rate: Option<f64>,
    requests: u64,
    requests_per_second: f64,
    latency_ms: Latency,
    tcp: Tcp,
    #[serde(skip)]
    connections_per_second: f64,
    bytes: Bytes,
    mtls_share: Option<f64>,
    denied: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    #[serde(skip)]
    us: [Option<u64>; 3],
}

#[derive(Debug, Serialize)]
struct Bytes {
    received: u64,
    sent: u64,
}

impl Report {
    /// Of the services that are meant.
    fn of(answer: StatResponse, window_seconds: u32, is_meant: impl Fn(&ServiceName) -> bool) -> Self {
        let covered_seconds = answer.covered_seconds;
        let mut services: Vec<Service> = Vec::new();
        for StatRow { service, route, traffic, .. } in answer.rows {
            let name = service.unwrap_or_default();
            let signals = Signals::of(&traffic.unwrap_or_default(), covered_seconds);
            if !is_meant(&name) {
                continue;
            }
            match services.last_mut() {
                Some(last) if !route.is_empty() => last.routes.push(Route { route, signals }),
                _ => services.push(Service {
                    namespace: name.namespace,
                    service: name.name,
                    host: name.host,
                    signals,
                    routes: Vec::new(),
                }),
            }
        }
        Self { window_seconds, covered_seconds, services }
    }

    fn print(&self) {
        let head = [
            "SERVICE", "ROUTE", "SUCCESS", "RPS", "P50", "P95", "P99", "CONN/S", "OPEN", "RECEIVED", "SENT", "MTLS",
            "DENIED",
        ];
        let mut rows = Vec::new();
        for service in &self.services {
            let name = print::tame(&format!("{}/{}", service.namespace, service.service));
            rows.push(service.signals.cells(&name, ALL_ROUTES));
            rows.extend(service.routes.iter().map(|route| route.signals.cells(&name, &print::tame(&route.route))));
        }
        print::line(&print::table(&head, &rows));
        super::tell_coverage(self.covered_seconds, self.window_seconds);
    }
}

impl Signals {
    fn of(traffic: &Traffic, seconds: f64) -> Self {
        let us = [traffic.p50_us, traffic.p95_us, traffic.p99_us];
        let [p50, p95, p99] = us.map(|us| us.map(|us| us as f64 / 1e3));
        Self {
            success_rate: figures::success(traffic),
            requests: traffic.requests,
            requests_per_second: figures::per_second(traffic.requests, seconds),
            latency_ms: Latency { p50, p95, p99, us },
            tcp: Tcp::of(traffic),
            connections_per_second: figures::per_second(traffic.opened, seconds),
            bytes: Bytes { received: traffic.from_caller_bytes, sent: traffic.from_callee_bytes },
            mtls_share: figures::share(traffic.secured_calls, traffic.calls),
            denied: traffic.denied,
        }
    }

    fn cells(&self, service: &str, route: &str) -> Vec<String> {
        let [p50, p95, p99] = self.latency_ms.us.map(figures::latency);
        vec![
            service.to_owned(),
            route.to_owned(),
            figures::percent(self.success_rate),
            figures::rate(self.requests_per_second),
            p50,
            p95,
            p99,
            figures::rate(self.connections_per_second),
            figures::count(self.tcp.open),
            figures::bytes(self.bytes.received),
            figures::bytes(self.bytes.sent),
            figures::percent(self.mtls_share),
            figures::count(self.denied),
        ]
    }
}

/// In place of a route, for the whole service.
const ALL_ROUTES: &str = "*";
