//! Signals, as proxies tell them and as those who look get them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use weft_wire::histogram::bucket;
use weft_wire::proto::weft::v1::observe_client::ObserveClient;
use weft_wire::proto::weft::v1::telemetry_client::TelemetryClient;
use weft_wire::proto::weft::v1::{self as proto, Delta, Signals, Watch};
use weft_wire::record::INBOUND_TYPE;

use crate::harness::{Mesh, soon, with_token};

/// A proxy that tells what it is told to tell.
struct Proxy {
    signals: mpsc::Sender<Signals>,
    watches: Streaming<Watch>,
}

impl Proxy {
    async fn of(mesh: &Mesh, token: &str) -> Result<Self, Status> {
        let (signals, receiver) = mpsc::channel(16);
        let mut client = TelemetryClient::new(mesh.channel().await);
        let watches = soon(client.report(with_token(ReceiverStream::new(receiver), token))).await?.into_inner();
        Ok(Self { signals, watches })
    }

    async fn say(&self, signals: Signals) {
        self.signals.send(signals).await.unwrap();
    }

    async fn asked(&mut self) -> Result<Watch, Status> {
        soon(self.watches.message()).await.map(|watch| watch.expect("expected to be asked, found the end"))
    }

    /// Waits until somebody looks, and answers with `signals`.
    async fn answer(&mut self, signals: Signals) {
        let mut flushed = 0;
        while flushed == 0 {
            flushed = self.asked().await.unwrap().flush;
        }
        self.say(Signals { flushed, ..signals }).await;
    }
}

async fn observe(mesh: &Mesh) -> ObserveClient<Channel> {
    ObserveClient::new(mesh.channel().await)
}

fn party(app: &str) -> proto::Party {
    let principal = format!("spiffe://cluster.local/ns/default/sa/{app}");
    proto::Party {
        workload: app.to_owned(),
        namespace: "default".to_owned(),
        app: app.to_owned(),
        principal,
        kind: String::new(),
    }
}

/// Requests of `caller` to `web`, as web's proxy sees them.
fn requests(id: u32, caller: &str) -> proto::Series {
    proto::Series {
        id,
        reporter: proto::Reporter::Destination.into(),
        source: Some(party(caller)),
        destination: Some(party("web")),
        service: Some(proto::ServiceName {
            host: "web.default.svc.cluster.local".to_owned(),
            name: "web".to_owned(),
            namespace: "default".to_owned(),
        }),
        protocol: "http".to_owned(),
        security: "mutual_tls".to_owned(),
        flag: "-".to_owned(),
        route: Some(proto::Route { route: "GET /{id}".to_owned(), code: 200, grpc_status: String::new() }),
    }
}

fn took(id: u32, us: u64, count: u64) -> Delta {
    let (buckets, counts) = (vec![bucket(us) as u32], vec![count]);
    Delta { id, requests: count, duration_us: us * count, buckets, counts, ..Delta::default() }
}

#[tokio::test]
async fn who_looks_gets_what_the_proxies_have_at_that_time() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    assert_eq!(proxy.asked().await.unwrap().interval_ms, 5_000);
    let mut looking = observe(&mesh).await;
    let stat = tokio::spawn(async move {
        looking.stat(proto::StatRequest { window_seconds: 60, ..proto::StatRequest::default() }).await
    });
    let series = vec![requests(0, "shop"), requests(1, "app")];
    proxy.answer(Signals { series, deltas: vec![took(0, 2_000, 3), took(1, 2_000, 1)], ..Signals::default() }).await;
    let answer = soon(stat).await.unwrap().unwrap().into_inner();
    let routes: Vec<_> = answer.rows.iter().map(|row| row.route.as_str()).collect();
    assert_eq!(routes, ["", "GET /{id}"]);
    let traffic = answer.rows[0].traffic.as_ref().unwrap();
    assert_eq!((traffic.requests, traffic.secured_calls, traffic.failed_requests), (4, 4, 0));
    assert!(traffic.p50_us.unwrap().abs_diff(2_000) <= 100, "{traffic:?}");

    let mut looking = observe(&mesh).await;
    let edges = tokio::spawn(async move {
        looking.edges(proto::EdgesRequest { window_seconds: 60, ..proto::EdgesRequest::default() }).await
    });
    proxy.answer(Signals::default()).await;
    let edges = soon(edges).await.unwrap().unwrap().into_inner().edges;
    let of = |edge: &proto::Edge| edge.source.as_ref().unwrap().principal.clone();
    let sources: Vec<_> = edges.iter().map(of).collect();
    assert_eq!(sources, ["app", "shop"].map(|name| format!("spiffe://cluster.local/ns/default/sa/{name}")));
    mesh.end().await;
}

#[tokio::test]
async fn a_service_that_nobody_called_is_there_all_the_same() {
    let mesh = Mesh::start();
    let _web = mesh.launch("web").await;
    let answer =
        soon(observe(&mesh).await.stat(proto::StatRequest { window_seconds: 60, ..proto::StatRequest::default() }))
            .await
            .unwrap()
            .into_inner();
    assert_eq!(answer.rows.len(), 1);
    assert_eq!(answer.rows[0].traffic, Some(proto::Traffic::default()));
    for window_seconds in [0, 3_601] {
        let refused =
            soon(observe(&mesh).await.stat(proto::StatRequest { window_seconds, ..proto::StatRequest::default() }))
                .await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    mesh.end().await;
}

#[tokio::test]
async fn calls_reach_those_who_watch_for_them() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    assert_eq!(proxy.asked().await.unwrap().taps, []);
    let filter = proto::TapFilter { method: "GET".to_owned(), ..proto::TapFilter::default() };
    let mut events = soon(observe(&mesh).await.tap(filter.clone())).await.unwrap().into_inner();
    let watch = proxy.asked().await.unwrap();
    assert_eq!(watch.taps[0].filter.as_ref(), Some(&filter));
    assert_eq!(watch.interval_ms, 250);
    let event = |numbers: Vec<u64>| proto::TapEvent { numbers, method: "GET".to_owned(), ..proto::TapEvent::default() };
    let taps = vec![event(vec![watch.taps[0].number]), event(vec![watch.taps[0].number + 1])];
    proxy.say(Signals { taps, taps_dropped: 2, ..Signals::default() }).await;
    let got = soon(events.message()).await.unwrap().unwrap();
    assert_eq!((got.events.len(), got.dropped), (1, 2));
    drop(events);
    while !proxy.asked().await.unwrap().taps.is_empty() {}
    mesh.end().await;
}

#[tokio::test]
async fn a_proxy_speaks_for_its_own_workload_only() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    assert_eq!(Proxy::of(&mesh, "0").await.err().map(|status| status.code()), Some(Code::Unauthenticated));
    let mut proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    let mut forged = requests(0, "shop");
    forged.destination = Some(party("bank"));
    let mut looking = observe(&mesh).await;
    let edges = tokio::spawn(async move {
        looking.edges(proto::EdgesRequest { window_seconds: 60, ..proto::EdgesRequest::default() }).await
    });
    proxy.answer(Signals { series: vec![forged], deltas: vec![took(0, 9, 1)], ..Signals::default() }).await;
    let edges = soon(edges).await.unwrap().unwrap().into_inner().edges;
    assert_eq!(edges[0].destination.as_ref().unwrap().app, "web");

    proxy.say(Signals { deltas: vec![took(7, 9, 1)], ..Signals::default() }).await;
    let ended = async {
        loop {
            if let Err(status) = proxy.asked().await {
                return status.code();
            }
        }
    };
    assert_eq!(ended.await, Code::InvalidArgument, "counts of a series that was never named");
    mesh.end().await;
}

#[tokio::test]
async fn proxies_tell_of_themselves_and_the_plane_of_their_records() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut follower = mesh.subscribe(&web.assigned.token).await.unwrap();
    follower.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    follower.inbound().await;
    let mut proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    let mut looking = observe(&mesh).await;
    let asked = tokio::spawn(async move { looking.proxies(proto::ProxiesRequest {}).await });
    let leaf = proto::Leaf { serial: "01".to_owned(), ..proto::Leaf::default() };
    let health = proto::Health { anonymous_bytes: 7, ..proto::Health::default() };
    proxy.answer(Signals { health: Some(health), certificate: Some(leaf), ..Signals::default() }).await;
    let answer = soon(asked).await.unwrap().unwrap().into_inner();
    let state = &answer.proxies[0];
    assert_eq!(state.workload, web.assigned.workload);
    assert_eq!(state.health.as_ref().map(|health| health.anonymous_bytes), Some(7));
    assert_eq!(state.certificate.as_ref().map(|leaf| leaf.serial.as_str()), Some("01"));
    assert_eq!(state.record_streams, 1);
    assert_ne!(state.inbound_version, "");
    assert!(answer.root.unwrap().not_after > answer.issuer.unwrap().not_after);
    drop(proxy);
    let gone = async {
        loop {
            let answer = observe(&mesh).await.proxies(proto::ProxiesRequest {}).await.unwrap().into_inner();
            if answer.proxies[0].health.is_none() {
                return;
            }
        }
    };
    soon(gone).await;
    mesh.end().await;
}

#[tokio::test]
async fn a_proxy_that_drains_tells_its_last_after_its_workload_has_gone() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    drop(web);
    let gone = async {
        while !mesh
            .control()
            .await
            .list_workloads(proto::ListWorkloadsRequest {})
            .await
            .unwrap()
            .into_inner()
            .workloads
            .is_empty()
        {}
    };
    soon(gone).await;
    proxy.say(Signals { series: vec![requests(0, "shop")], deltas: vec![took(0, 9, 1)], ..Signals::default() }).await;
    drop(proxy.signals);
    let mut watches = proxy.watches;
    while soon(watches.message()).await.unwrap().is_some() {}
    let answer =
        soon(observe(&mesh).await.stat(proto::StatRequest { window_seconds: 60, ..proto::StatRequest::default() }))
            .await
            .unwrap()
            .into_inner();
    assert_eq!(answer.rows[0].traffic.as_ref().unwrap().requests, 1);
    mesh.end().await;
}

#[tokio::test]
async fn prometheus_reads_one_page_for_all() {
    let mesh = Mesh::start();
    let address: SocketAddr = mesh.status().await.metrics_address.unwrap().parse().unwrap();
    let web = mesh.launch("web").await;
    let mut proxy = Proxy::of(&mesh, &web.assigned.token).await.unwrap();
    let scrape = spawn_blocking(move || page(address, "GET /metrics"));
    proxy
        .answer(Signals { series: vec![requests(0, "shop")], deltas: vec![took(0, 9, 5)], ..Signals::default() })
        .await;
    let page_text = soon(scrape).await.unwrap();
    let line = page_text.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
    assert!(line.contains("source_workload=\"shop\"") && line.ends_with(" 5"), "{line}");
    for (request, status) in [("GET /", "404"), ("POST /metrics", "405")] {
        let answer = soon(spawn_blocking(move || page(address, request))).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    mesh.end().await;
}

#[tokio::test]
async fn a_metrics_address_that_is_taken_stops_nobody() {
    let first = Mesh::start();
    let taken = first.status().await.metrics_address.unwrap().parse().unwrap();
    let second = Mesh::start_with(|config| config.metrics = Some(taken));
    assert_eq!(second.status().await.metrics_address.as_deref(), Some(""));
    second.end().await;
    first.end().await;
}

fn page(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: mesh\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
