//! `weft edges KIND`: who calls whom in a cluster, in the columns that Linkerd's users know.

use serde::Serialize;
use weft_wire::proto::weft::v1::{Edge, EdgesRequest, Party};

use crate::args::{EdgesArgs, Resources, TableFormat};
use crate::failure::Failure;
use crate::figures::{self, text};
use crate::home::Mesh;
use crate::{client, print};

/// Prints the edges between resources.
pub(super) async fn run(mesh: &Mesh, args: &EdgesArgs, resources: &Resources) -> Result<(), Failure> {
    let own = mesh.namespace(args.scope.namespace.as_deref()).await?;
    let resource = resources.message(if args.scope.all_namespaces { "" } else { &own });
    let request = EdgesRequest { window_seconds: args.window.window, resource: Some(resource) };
    let mut observer = client::observe(mesh).await?;
    let answer = observer.edges(request).await.map_err(|status| client::refused("read the edges", &status))?;
    let answer = answer.into_inner();
    let covered_seconds = answer.covered_seconds;
    let rows: Vec<Row> = answer.edges.into_iter().map(|edge| Row::of(edge, covered_seconds)).collect();
    if args.output == TableFormat::Json {
        print::json(&rows);
        return Ok(());
    }
    if rows.is_empty() {
        print::note("weft: nobody called anybody; look further back with: --window 1h");
        return Ok(());
    }
    print::line(&table(&rows, args.output));
    super::super::tell_coverage(covered_seconds, args.window.window);
    Ok(())
}

#[derive(Debug, Serialize)]
struct Row {
    src: String,
    src_namespace: String,
    dst: String,
    dst_namespace: String,
    client_id: Option<String>,
    server_id: Option<String>,
    security: String,
    /// Empty when TLS proved both sides.
    no_tls_reason: &'static str,
    success: Option<f64>,
    rps: f64,
    tcp_open_connections: u64,
}

impl Row {
    fn of(edge: Edge, seconds: f64) -> Self {
        let (source, destination) = (edge.source.unwrap_or_default(), edge.destination.unwrap_or_default());
        let traffic = edge.traffic.unwrap_or_default();
        let no_tls_reason = match (&*edge.security, source.principal.is_empty()) {
            ("mutual_tls", _) => "",
            (_, true) => "the caller has no proxy",
            (_, false) => "the callee has no proxy",
        };
        let id = |party: &Party| text(&party.principal);
        Self {
            client_id: id(&source),
            server_id: id(&destination),
            src: source.workload,
            src_namespace: source.namespace,
            dst: destination.workload,
            dst_namespace: destination.namespace,
            security: edge.security,
            no_tls_reason,
            success: figures::success(&traffic),
            rps: figures::per_second(traffic.requests, seconds),
            tcp_open_connections: traffic.open,
        }
    }

    fn cells(&self, format: TableFormat) -> Vec<String> {
        let told = |text: &str| if text.is_empty() { figures::NOTHING.to_owned() } else { print::tame(text) };
        let mut cells: Vec<_> =
            [&self.src, &self.dst, &self.src_namespace, &self.dst_namespace].map(|text| told(text)).to_vec();
        if format == TableFormat::Wide {
            cells.extend([&self.client_id, &self.server_id].map(|id| told(id.as_deref().unwrap_or_default())));
        }
        cells.push(if self.no_tls_reason.is_empty() { "√".to_owned() } else { self.no_tls_reason.to_owned() });
        cells
    }
}

fn table(rows: &[Row], format: TableFormat) -> String {
    let mut head = vec!["SRC", "DST", "SRC_NS", "DST_NS"];
    if format == TableFormat::Wide {
        head.extend(["CLIENT_ID", "SERVER_ID"]);
    }
    head.push("SECURED");
    let mut cells: Vec<_> = rows.iter().map(|row| row.cells(format)).collect();
    // Edges that differ only in what isn't shown.
    cells.dedup();
    print::table(&head, &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(source: &str, identity: &str, security: &str) -> Row {
        let party = |name: &str, principal: &str| Party {
            workload: name.to_owned(),
            namespace: if name.is_empty() { String::new() } else { "shop".to_owned() },
            principal: principal.to_owned(),
            ..Party::default()
        };
        let (source, destination) = (party(source, identity), party("payments", "spiffe://a/ns/shop/sa/payments"));
        let edge = Edge {
            source: Some(source),
            destination: Some(destination),
            security: security.to_owned(),
            ..Edge::default()
        };
        Row::of(edge, 60.0)
    }

    #[test]
    fn columns_are_those_of_linkerd() {
        let rows = [edge("checkout", "spiffe://a/ns/shop/sa/checkout", "mutual_tls"), edge("", "", "none")];
        insta::assert_snapshot!(table(&rows, TableFormat::Table), @r"
        SRC       DST       SRC_NS  DST_NS  SECURED
        checkout  payments  shop    shop    √
        -         payments  -       shop    the caller has no proxy
        ");
        insta::assert_snapshot!(table(&rows[..1], TableFormat::Wide), @r"
        SRC       DST       SRC_NS  DST_NS  CLIENT_ID                       SERVER_ID                       SECURED
        checkout  payments  shop    shop    spiffe://a/ns/shop/sa/checkout  spiffe://a/ns/shop/sa/payments  √
        ");
    }
}
