//! `weft tap`: calls as they end, and those that last before, as the proxies see them.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use weft_wire::proto::weft::v1::{Party, Reporter, TapEvent, TapFilter};

use crate::args::{FilterArgs, Format, TapArgs};
use crate::failure::{Context, Failure};
use crate::figures::{self, text};
use crate::home::Mesh;
use crate::{client, print};

/// Shows calls until it is interrupted, its reader has gone, or it has shown enough.
pub(crate) fn run(mesh: &Mesh, args: &TapArgs) -> Result<ExitCode, Failure> {
    crate::runtime::of_this_thread()?.block_on(follow(mesh, args))?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(from: &Mesh, args: &TapArgs) -> Result<(), Failure> {
    let refused = |status: tonic::Status| client::refused("watch calls", &status);
    let filter = filter(from, &args.filter).await?;
    let mut mesh = client::observe(from).await?;
    let mut events = mesh.tap(filter).await.map_err(refused)?.into_inner();
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut next = match timeout(QUIET, events.message()).await {
        Ok(first) => first,
        Err(_) => {
            print::note(nothing_yet(from));
            events.message().await
        }
    };
    while let Some(message) = next.map_err(refused)? {
        if message.dropped > 0 {
            print::note(&format!("weft: {} calls came too fast to be shown", message.dropped));
        }
        for event in message.events {
            let line = match args.read.output {
                Format::Text => line(&event),
                Format::Json => serde_json::to_string(&Call::of(event)).context("write a call")?,
            };
            left -= 1;
            // A reader that has gone has seen enough.
            if print::stream_line(&line).is_err() || left == 0 {
                return Ok(());
            }
        }
        next = events.message().await;
    }
    Err(ended(from))
}

/// What is asked of the proxies.
///
/// # Errors
/// When a kind is named, and then too much, or no kubeconfig says which namespace is meant.
pub(super) async fn filter(mesh: &Mesh, args: &FilterArgs) -> Result<TapFilter, Failure> {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let resource = match super::resources(&args.what)? {
        Some(resources) if args.scope.all_namespaces => Some(resources.message("")),
        Some(resources) => Some(resources.message(&mesh.namespace(args.scope.namespace.as_deref()).await?)),
        None => None,
    };
    let workload = match resource {
        Some(_) => String::new(),
        None => workload(args.what.first(), args.scope.namespace.as_deref())?,
    };
    Ok(TapFilter {
        workload,
        resource,
        method: given(&args.method),
        path: given(&args.path),
        status: given(&args.status),
        identity: given(&args.identity),
    })
}

/// NAME or NAMESPACE/NAME of the workload that is meant; empty: all.
fn workload(name: Option<&String>, namespace: Option<&str>) -> Result<String, Failure> {
    match (name, namespace) {
        (None, None) => Ok(String::new()),
        (None, Some(_)) => Err(Failure::new("expected a workload's name or a KIND beside --namespace, found none")),
        (Some(name), Some(namespace)) if !name.contains('/') => Ok(format!("{namespace}/{name}")),
        (Some(name), _) => Ok(name.clone()),
    }
}

/// `12:03:04.567 in  web-x > payments  GET /charge 200  1.2ms  mtls spiffe://…`
fn line(event: &TapEvent) -> String {
    let clock = start(event).map(|time| {
        let (h, m, s, ms) = (time.hour(), time.minute(), time.second(), time.millisecond());
        format!("{h:02}:{m:02}:{s:02}.{ms:03}")
    });
    let side = if event.reporter() == Reporter::Destination { "in " } else { "out" };
    let source = party(event.source.as_ref(), &event.source_address);
    let service = event.service.as_ref().map(|service| format!("{}/{}", service.namespace, service.name));
    let service = service.unwrap_or_default();
    let what = match (&*event.method, event.code) {
        ("", _) => format!("{} {}", event.protocol, event.destination_address),
        (method, _) if event.open => format!("{method} {}", event.path),
        (method, 0) => format!("{method} {} without a response", event.path),
        (method, code) => format!("{method} {} {code}", event.path),
    };
    let took = figures::latency(Some(event.duration_us));
    let traffic = [event.from_caller_bytes, event.from_callee_bytes].map(figures::bytes).join("/");
    let passed = if event.open { format!("open for {took}") } else { format!("{took}  {traffic}") };
    let identity = event.source.as_ref().map(|party| &*party.principal).filter(|id| !id.is_empty());
    let secured = match (&*event.security, identity) {
        ("none", _) => "plaintext".to_owned(),
        (_, Some(id)) => format!("as {id}"),
        (other, None) => other.to_owned(),
    };
    let failed = match (&*event.verdict, &*event.why) {
        ("deny", _) => "  denied".to_owned(),
        (_, "") => String::new(),
        (_, why) => format!("  failed: {why} ({})", event.flag),
    };
    let clock = clock.unwrap_or_default();
    print::tame(&format!("{clock} {side} {source} > {service}  {what}  {passed}  {secured}{failed}"))
}

/// A side of a call by its workload, else by its address.
pub(super) fn party(party: Option<&Party>, address: &str) -> String {
    match party {
        Some(party) if party.workload != "unknown" => format!("{}/{}", party.namespace, party.workload),
        _ => address.to_owned(),
    }
}

fn start(event: &TapEvent) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.start_us) * 1_000).ok()
}

/// A call as JSON tells it.
#[derive(Debug, Serialize)]
struct Call {
    start: Option<String>,
    duration_ms: f64,
    reporter: &'static str,
    source: Side,
    destination: Side,
    service: String,
    protocol: String,
    security: String,
    method: Option<String>,
    path: Option<String>,
    status: Option<u32>,
    bytes: Bytes,
    verdict: Option<String>,
    flag: String,
    why: Option<String>,
    open: bool,
}

#[derive(Debug, Serialize)]
struct Side {
    namespace: String,
    workload: String,
    app: String,
    identity: Option<String>,
    address: String,
}

#[derive(Debug, Serialize)]
struct Bytes {
    received: u64,
    sent: u64,
}

impl Call {
    fn of(event: TapEvent) -> Self {
        let reporter = match event.reporter() {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        };
        Self {
            start: start(&event).and_then(|time| time.format(&Rfc3339).ok()),
            duration_ms: event.duration_us as f64 / 1e3,
            reporter,
            source: Side::of(event.source, event.source_address),
            destination: Side::of(event.destination, event.destination_address),
            service: event.service.unwrap_or_default().host,
            protocol: event.protocol,
            security: event.security,
            status: (!event.method.is_empty() && !event.open).then_some(event.code),
            method: text(&event.method),
            path: text(&event.path),
            bytes: Bytes { received: event.from_caller_bytes, sent: event.from_callee_bytes },
            verdict: text(&event.verdict),
            flag: event.flag,
            why: text(&event.why),
            open: event.open,
        }
    }
}

impl Side {
    fn of(party: Option<Party>, address: String) -> Self {
        let Party { workload, namespace, app, principal, .. } = party.unwrap_or_default();
        Self { namespace, workload, app, identity: text(&principal), address }
    }
}

/// Why no more calls come.
pub(super) fn ended(mesh: &Mesh) -> Failure {
    match mesh {
        Mesh::Local(_) => Failure::new("the mesh has ended").hint(client::START),
        Mesh::Cluster(_) => Failure::new("the controller has ended the stream of calls").hint(AGAIN),
    }
}

/// A name that nobody has is no mistake: whoever has it may come yet.
fn nothing_yet(mesh: &Mesh) -> &'static str {
    match mesh {
        Mesh::Local(_) => "weft: no such call yet; who there is: weft ps",
        Mesh::Cluster(_) => "weft: no such call yet; who there is: weft stat deploy -A",
    }
}

/// A mesh in which nothing was seen for so long may not have what is looked for.
const QUIET: Duration = Duration::from_secs(5);
/// A new controller takes its place.
const AGAIN: &str = "another one takes its place, as in an update: tap again; else see how the mesh is: weft check";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_which_workload_of_a_name() {
        let meant = |name: Option<&str>, namespace| workload(name.map(str::to_owned).as_ref(), namespace).ok();
        assert_eq!(meant(Some("web"), Some("shop")).as_deref(), Some("shop/web"));
        assert_eq!(meant(Some("a/web"), Some("shop")).as_deref(), Some("a/web"));
        assert_eq!(meant(Some("web"), None).as_deref(), Some("web"));
        assert_eq!((meant(None, None).as_deref(), meant(None, Some("shop"))), (Some(""), None));
    }
}
