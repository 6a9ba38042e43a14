//! `weft edges`: who calls whom, as which identity, secured or not; a cluster's resources in
//! `resources`.

mod resources;

use std::process::ExitCode;

use serde::Serialize;
use weft_wire::proto::weft::v1::{Edge, EdgesRequest};

use crate::args::{EdgesArgs, TableFormat};
use crate::failure::Failure;
use crate::figures::{self, App, Tcp};
use crate::home::Mesh;
use crate::{client, print};

/// Prints the edges of the window.
pub(crate) fn run(mesh: &Mesh, args: &EdgesArgs) -> Result<ExitCode, Failure> {
    let runtime = crate::runtime::of_this_thread()?;
    if let Some(resources) = super::resources(&args.what)? {
        return runtime.block_on(resources::run(mesh, args, &resources)).map(|()| ExitCode::SUCCESS);
    }
    super::no_resources(&args.what)?;
    let window_seconds = args.window.window;
    let answer = runtime.block_on(async {
        let mut mesh = client::observe(mesh).await?;
        let answer = mesh.edges(EdgesRequest { window_seconds, ..EdgesRequest::default() }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| client::refused("read the edges", &status))
    })?;
    let covered_seconds = answer.covered_seconds;
    let rows = answer.edges.into_iter().map(|edge| Row::of(edge, covered_seconds));
    let edges = rows.filter(|row| [&row.source, &row.destination].iter().any(|app| args.scope.holds(&app.namespace)));
    let edges = edges.collect();
    let report = Report { window_seconds, covered_seconds, edges };
    match args.output {
        TableFormat::Json => print::json(&report),
        TableFormat::Table | TableFormat::Wide => report.print(),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Report {
    window_seconds: u32,
    covered_seconds: f64,
    edges: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    source: App,
    destination: App,
    service: String,
    security: String,
    success_rate: Option<f64>,
    requests: u64,
    requests_per_second: f64,
    tcp: Tcp,
    #[serde(skip)]
    connections_per_second: f64,
    denied: u64,
    #[serde(skip)]
    place: String,
}

impl Report {
    fn print(&self) {
        if self.edges.is_empty() {
            return print::line("nobody called anybody; look further back with: weft edges --window 1h");
        }
        let head = [
            "SOURCE",
            "DESTINATION",
            "SECURED",
            "CLIENT IDENTITY",
            "SERVER IDENTITY",
            "RPS",
            "CONN/S",
            "SUCCESS",
            "DENIED",
        ];
        let rows: Vec<_> = self.edges.iter().map(Row::cells).collect();
        print::line(&print::table(&head, &rows));
        super::tell_coverage(self.covered_seconds, self.window_seconds);
    }
}

impl Row {
    fn of(edge: Edge, seconds: f64) -> Self {
        let (traffic, name) = (edge.traffic.unwrap_or_default(), edge.service.unwrap_or_default());
        Self {
            source: App::of(edge.source),
            destination: App::of(edge.destination),
            service: name.host,
            security: edge.security,
            success_rate: figures::success(&traffic),
            requests: traffic.requests,
            requests_per_second: figures::per_second(traffic.requests, seconds),
            tcp: Tcp::of(&traffic),
            connections_per_second: figures::per_second(traffic.opened, seconds),
            denied: traffic.denied,
            place: format!("{}/{}", name.namespace, name.name),
        }
    }

    fn cells(&self) -> Vec<String> {
        let secured = match &*self.security {
            "mutual_tls" => "yes",
            "none" => "no",
            "outside" => "outside",
            _ => "?",
        };
        let identity = |app: &App| app.identity.clone().unwrap_or_else(|| figures::NOTHING.to_owned());
        vec![
            print::tame(&self.source.label()),
            print::tame(self.place.trim_start_matches("unknown/")),
            secured.to_owned(),
            print::tame(&identity(&self.source)),
            print::tame(&identity(&self.destination)),
            figures::rate(self.requests_per_second),
            figures::rate(self.connections_per_second),
            figures::percent(self.success_rate),
            figures::count(self.denied),
        ]
    }
}
