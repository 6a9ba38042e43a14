//! `weft stat KIND`: golden signals of a cluster's resources, in the columns that Linkerd's users know.

use serde::Serialize;
use weft_kube::standing::Standing;
use weft_wire::proto::weft::v1::{Resource, StatRequest, StatResponse, StatRow};

use crate::access::told;
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
    let within = (!args.scope.all_namespaces).then_some(own.as_str());
    let rows = joined(rows(answer, resources), standing(mesh, resources, within).await, resources);
    if let (true, Some(name)) = (rows.is_empty(), &resources.name) {
        let hint = format!("see which there are: weft stat {} -A", resources.kind.to_lowercase());
        return Err(Failure::new(format!("there is no {} {name}", resources.kind)).hint(hint));
    }
    if args.output == TableFormat::Json {
        print::json(&rows);
        return Ok(());
    }
    if rows.is_empty() {
        let place = if args.scope.all_namespaces { "the mesh".to_owned() } else { format!("namespace {own}") };
        print::note(&format!("weft: no {} found in {place}", resources.kind));
        return Ok(());
    }
    let names = match args.scope.all_namespaces && !resources.is_of_namespaces() {
        true => Names::WithNamespace,
        false => Names::Alone,
    };
    print::line(&table(&rows, names, args.output));
    super::super::tell_coverage(covered_seconds, args.window.window);
    Ok(())
}

/// The resources that there are, where the user may see them; none of this machine.
async fn standing(mesh: &Mesh, resources: &Resources, namespace: Option<&str>) -> Vec<Standing> {
    let Mesh::Cluster(access) = mesh else { return Vec::new() };
    let listed = async {
        let client = access.cluster().await?.client;
        let found = weft_kube::standing::standing(&client, resources.kind, namespace, resources.name.as_deref()).await;
        found.map_err(|error| told(&error))
    };
    listed.await.unwrap_or_else(|failure: Failure| {
        print::note(&format!("weft: only what traffic was told of is shown: {}", failure.message));
        Vec::new()
    })
}

/// The rows with those of resources that nothing was told of, in order; each pod with its status.
fn joined(mut rows: Vec<Row>, standing: Vec<Standing>, resources: &Resources) -> Vec<Row> {
    for Standing { namespace, name, status, is_meshed } in standing {
        let at = rows.iter().position(|row| row.namespace == namespace && row.name == name);
        match at {
            Some(at) => rows[at].status = status,
            None => {
                let pods = u32::from(status.is_some());
                let resource = Resource { kind: resources.kind.to_owned(), namespace, name };
                let row =
                    StatRow { resource: Some(resource), meshed: u32::from(is_meshed), pods, ..StatRow::default() };
                rows.push(Row { status, ..Row::of(row, resources.kind, 1.0) });
            }
        }
    }
    rows.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    rows
}

#[derive(Debug, Serialize)]
struct Row {
    namespace: String,
    kind: String,
    name: String,
    /// Of a pod what becomes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
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
            status: None,
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

    fn cells(&self, names: Names, format: TableFormat) -> Vec<String> {
        let nothing = || figures::NOTHING.to_owned();
        let [p50, p95, p99] = self.us.map(figures::latency);
        let mut cells = if names == Names::WithNamespace { vec![print::tame(&self.namespace)] } else { Vec::new() };
        cells.push(print::tame(&self.name));
        if self.kind == "pod" {
            cells.push(self.status.as_deref().map_or_else(nothing, print::tame));
        }
        cells.extend([
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

/// Whether names are told apart by namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Alone,
    WithNamespace,
}

fn table(rows: &[Row], names: Names, format: TableFormat) -> String {
    let mut head = if names == Names::WithNamespace { vec!["NAMESPACE"] } else { Vec::new() };
    head.push("NAME");
    // All rows are of one kind.
    if rows.iter().any(|row| row.kind == "pod") {
        head.push("STATUS");
    }
    head.extend(["MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "TCP_CONN"]);
    if format == TableFormat::Wide {
        head.extend(["READ_BYTES/SEC", "WRITE_BYTES/SEC"]);
    }
    let cells: Vec<_> = rows.iter().map(|row| row.cells(names, format)).collect();
    print::table(&head, &cells)
}

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::Traffic;

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
        insta::assert_snapshot!(table(&rows, Names::Alone, TableFormat::Table), @r"
        NAME      MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN
        payments  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3
        web       1/2     -        -       -            -            -            -
        ");
        insta::assert_snapshot!(table(&rows[..1], Names::WithNamespace, TableFormat::Wide), @r"
        NAMESPACE  NAME      MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN  READ_BYTES/SEC  WRITE_BYTES/SEC
        shop       payments  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3         100.0B/s        -
        ");
        insta::assert_snapshot!(serde_json::to_string(&rows[1]).unwrap(), @r#"{"namespace":"shop","kind":"deployment","name":"web","meshed":"1/2","success":null,"rps":null,"latency_ms_p50":null,"latency_ms_p95":null,"latency_ms_p99":null,"tcp_open_connections":0,"tcp_read_bytes_rate":0.0,"tcp_write_bytes_rate":0.0}"#);
    }

    #[test]
    fn what_nothing_was_told_of_has_a_row() {
        let standing = |name: &str, status: Option<&str>, is_meshed| Standing {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            status: status.map(str::to_owned),
            is_meshed,
        };
        let told = |kind, standing: Vec<Standing>| {
            let resources = Resources { kind, name: None };
            let answer = StatResponse { covered_seconds: 60.0, rows: vec![row("payments", busy())] };
            table(&joined(super::rows(answer, &resources), standing, &resources), Names::Alone, TableFormat::Table)
        };
        insta::assert_snapshot!(told("Deployment", vec![standing("payments", None, false), standing("idle", None, false)]), @r"
        NAME      MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN
        idle      0/0     -        -       -            -            -            -
        payments  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3
        ");
        let pods = vec![standing("payments", Some("Running"), true), standing("web", Some("Pending"), true)];
        insta::assert_snapshot!(told("Pod", pods), @r"
        NAME      STATUS   MESHED  SUCCESS  RPS     LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN
        payments  Running  1/2     100.00%  2.0rps  1.2ms        4.0ms        23ms         3
        web       Pending  1/1     -        -       -            -            -            -
        ");
    }
}
