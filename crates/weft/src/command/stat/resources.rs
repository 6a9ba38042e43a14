//! `weft stat KIND`: golden signals of a cluster's resources, in the columns that Linkerd's users know.

use serde::Serialize;
use weft_wire::proto::weft::v1::{StatRequest, StatResponse, StatRow};

use crate::args::{Resources, StatArgs, TableFormat};
use crate::failure::Failure;
use crate::figures;
use crate::home::Mesh;
use crate::{client, print};

/// Prints the signals of resources.
pub(super) async fn run(mesh: &Mesh, args: &StatArgs, resources: &Resources) -> Result<(), Failure> {
    let own = mesh.namespace(args.scope.namespace.as_deref()).await?;
    let far = |resources: &Option<Resources>, namespace: &Option<String>| {
        resources.as_ref().map(|resources| resources.message(namespace.as_deref().unwrap_or(&own)))
    };
    let request = StatRequest {
        window_seconds: args.window.window,
        resource: Some(resources.message(if args.scope.all_namespaces { "" } else { &own })),
        to: far(&args.to, &args.to_namespace),
        from: far(&args.from, &args.from_namespace),
    };
    let mut observer = client::observe(mesh).await?;
    let answer = observer.stat(request).await.map_err(|status| client::refused("read the signals", &status))?;
    let answer = answer.into_inner();
    let covered_seconds = answer.covered_seconds;
    let rows = rows(answer, resources);
    if args.output == TableFormat::Json {
        print::json(&rows);
        return Ok(());
    }
    if rows.is_empty() {
        let place = if args.scope.all_namespaces { "the mesh".to_owned() } else { format!("namespace {own}") };
        print::note(&format!("weft: no {} found in {place}", resources.kind));
        return Ok(());
    }
    let places = match args.scope.all_namespaces && !resources.is_of_namespaces() {
        true => Places::Many,
        false => Places::One,
    };
    print::line(&table(&rows, places, args.output));
    super::super::tell_coverage(covered_seconds, args.window.window);
    Ok(())
}

#[derive(Debug, Serialize)]
struct Row {
    namespace: String,
    kind: String,
    name: String,
    /// Pods with a proxy of all; a Service has no pods of its own.
    meshed: Option<String>,
    success: Option<f64>,
    rps: Option<f64>,
    latency_ms_p50: Option<f64>,
    latency_ms_p95: Option<f64>,
    latency_ms_p99: Option<f64>,
    tcp_open_connections: u64,
    tcp_read_bytes_rate: f64,
    tcp_write_bytes_rate: f64,
    #[serde(skip)]
    us: [Option<u64>; 3],
    #[serde(skip)]
    had_any: bool,
}

fn rows(answer: StatResponse, resources: &Resources) -> Vec<Row> {
    let seconds = answer.covered_seconds;
    answer.rows.into_iter().map(|row| Row::of(row, resources.kind, seconds)).collect()
}

impl Row {
    fn of(row: StatRow, kind: &str, seconds: f64) -> Self {
        let (resource, traffic) = (row.resource.unwrap_or_default(), row.traffic.unwrap_or_default());
        let us = [traffic.p50_us, traffic.p95_us, traffic.p99_us];
        let [p50, p95, p99] = us.map(|us| us.map(|us| us as f64 / 1e3));
        Self {
            namespace: resource.namespace,
            kind: kind.to_lowercase(),
            name: resource.name,
            meshed: (kind != "Service").then(|| format!("{}/{}", row.meshed, row.pods)),
            success: figures::success(&traffic),
            rps: (traffic.requests > 0).then(|| figures::per_second(traffic.requests, seconds)),
            latency_ms_p50: p50,
            latency_ms_p95: p95,
            latency_ms_p99: p99,
            tcp_open_connections: traffic.open,
            tcp_read_bytes_rate: figures::per_second(traffic.from_caller_bytes, seconds),
            tcp_write_bytes_rate: figures::per_second(traffic.from_callee_bytes, seconds),
            us,
            had_any: traffic.requests + traffic.opened + traffic.closed + traffic.open > 0,
        }
    }

    fn cells(&self, places: Places, format: TableFormat) -> Vec<String> {
        let nothing = || figures::NOTHING.to_owned();
        let [p50, p95, p99] = self.us.map(figures::latency);
        let mut cells = Vec::new();
        if places == Places::Many {
            cells.push(print::tame(&self.namespace));
        }
        cells.extend([
            print::tame(&self.name),
            self.meshed.clone().unwrap_or_else(nothing),
            self.success.map_or_else(nothing, figures::exact_percent),
            self.rps.map_or_else(nothing, |rps| format!("{rps:.1}rps")),
            p50,
            p95,
            p99,
            if self.had_any { self.tcp_open_connections.to_string() } else { nothing() },
        ]);
        if format == TableFormat::Wide {
            let rates = [self.tcp_read_bytes_rate, self.tcp_write_bytes_rate];
            cells.extend(rates.map(|rate| if rate > 0.0 { format!("{rate:.1}B/s") } else { nothing() }));
        }
        cells
    }
}

/// Whether rows have to say in which namespace they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    One,
    Many,
}

fn table(rows: &[Row], places: Places, format: TableFormat) -> String {
    let mut head = if places == Places::Many { vec!["NAMESPACE"] } else { Vec::new() };
    head.extend(["NAME", "MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "TCP_CONN"]);
    if format == TableFormat::Wide {
        head.extend(["READ_BYTES/SEC", "WRITE_BYTES/SEC"]);
    }
    let cells: Vec<_> = rows.iter().map(|row| row.cells(places, format)).collect();
    print::table(&head, &cells)
}

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::{Resource, Traffic};

    use super::*;

    fn row(name: &str, traffic: Traffic) -> StatRow {
        let resource = Resource { kind: String::new(), namespace: "shop".to_owned(), name: name.to_owned() };
        StatRow { resource: Some(resource), traffic: Some(traffic), meshed: 1, pods: 2, ..StatRow::default() }
    }

    fn busy() -> Traffic {
        Traffic {
            requests: 120,
            p50_us: Some(1_200),
            p95_us: Some(4_000),
            p99_us: Some(23_456),
            open: 3,
            from_caller_bytes: 6_000,
            ..Traffic::default()
        }
    }

    #[test]
    fn columns_are_those_of_linkerd() {
        let rows = [row("payments", busy()), row("web", Traffic::default())];
        let answer = StatResponse { covered_seconds: 60.0, rows: rows.to_vec() };
        let resources = Resources { kind: "Deployment", name: None };
        let rows = super::rows(answer, &resources);
        insta::assert_snapshot!(table(&rows, Places::One, TableFormat::Table), @r"
        NAME      MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN
        payments  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3
        web       1/2     -        -       -            -            -            -
        ");
        insta::assert_snapshot!(table(&rows[..1], Places::Many, TableFormat::Wide), @r"
        NAMESPACE  NAME      MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN  READ_BYTES/SEC  WRITE_BYTES/SEC
        shop       payments  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3         100.0B/s        -
        ");
        insta::assert_snapshot!(serde_json::to_string(&rows[1]).unwrap(), @r#"{"namespace":"shop","kind":"deployment","name":"web","meshed":"1/2","success":null,"rps":null,"latency_ms_p50":null,"latency_ms_p95":null,"latency_ms_p99":null,"tcp_open_connections":0,"tcp_read_bytes_rate":0.0,"tcp_write_bytes_rate":0.0}"#);
    }
}
