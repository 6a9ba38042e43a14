//! Whoever fills the control plane's sockets, or reads nothing from them, holds up nobody else.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use weft_control::limits::{
    CALLS, COMMAND_LINES, CONNECTIONS_OF_A_PROCESS, CONNECTIONS_OF_AN_ADDRESS, SCRAPER_HEAD_BYTES,
};
use weft_identity::MeshTls;
use weft_mesh::record::{Inbound, MtlsMode};
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE};

use crate::clock::{Clock, eventually};
use crate::harness::{DEADLINE, Mesh, soon, with_token};
use crate::network::{Plane, identity};
use crate::{DISABLE, STRICT};

/// Another process with twice as many connections as one may have, none of which says anything.
struct Flooder {
    process: Child,
    /// So many were left to it.
    open: usize,
    /// What it says at its end, nobody hears.
    _said: Lines<BufReader<ChildStdout>>,
}

const FLOODED: &str = "WEFT_TEST_FLOODED";
const OPEN: &str = "open: ";

impl Flooder {
    async fn start(socket: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "flood::floods", "--ignored", "--nocapture"]).env(FLOODED, socket);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            let line = soon(said.next_line()).await.unwrap().expect("expected the flood, found its end");
            if let Some((_, open)) = line.split_once(OPEN) {
                return Self { process, open: open.parse().unwrap(), _said: said };
            }
        }
    }

    async fn end(mut self) {
        drop(self.process.stdin.take());
        soon(self.process.wait()).await.unwrap();
    }
}

/// The flooder, until the other test is done with it.
#[test]
#[ignore = "the other tests' peer"]
fn floods() {
    let socket = std::env::var_os(FLOODED).unwrap();
    let flood: Vec<UnixStream> =
        (0..2 * CONNECTIONS_OF_A_PROCESS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    // They are taken in turn: when this one is turned away, all have been or are in.
    let mut last = flood.last().unwrap();
    last.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0);
    let is_open = |mut stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        !is_at_end(|| stream.read(&mut [0; 4_096]))
    };
    println!("{OPEN}{}", flood.iter().filter(|stream| is_open(stream)).count());
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn a_process_that_connects_without_end_keeps_nobody_else_out() {
    let mesh = Mesh::start();
    let flooder = Flooder::start(&mesh.socket()).await;
    assert_eq!(flooder.open, CONNECTIONS_OF_A_PROCESS);
    let web = mesh.launch("web").await;
    assert!(web.assigned.workload.starts_with("default/web-"));
    flooder.end().await;
    mesh.end().await;
}

#[tokio::test]
async fn processes_that_take_every_place_leave_what_runs_and_the_control_planes_files() {
    const FILES: usize = 256;
    let mesh = Mesh::start_apart_with(FILES as u64).await;
    let web = mesh.launch("web").await;
    let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
    proxy.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Permissive);
    let mut flooders = Vec::new();
    for _ in 0..4 {
        flooders.push(Flooder::start(&mesh.socket()).await);
    }
    let open: usize = flooders.iter().map(|flooder| flooder.open).sum();
    assert!(open > FILES / 2 && open <= FILES * 3 / 4, "{open} are open");
    mesh.edit("a.yaml", STRICT);
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Strict);
    for flooder in flooders {
        flooder.end().await;
    }
    mesh.answers().await;
    mesh.kill().await;
}

/// Whether the control plane has closed a connection; what it says is passed over.
pub(crate) fn is_closed(stream: &TcpStream) -> bool {
    is_at_end(|| stream.try_read(&mut [0; 4_096]))
}

fn is_at_end(mut read: impl FnMut() -> io::Result<usize>) -> bool {
    loop {
        match read() {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    soon(socket.connect(to)).await.unwrap()
}

#[tokio::test]
async fn an_address_that_connects_without_end_keeps_nobody_else_out() {
    let plane = Plane::start().await;
    plane.certified("pod-token").await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..2 * CONNECTIONS_OF_AN_ADDRESS {
        flood.push(connect_from(Ipv4Addr::new(127, 0, 0, 2), plane.proxies).await);
    }
    eventually(|| flood.iter().filter(|stream| !is_closed(stream)).count() == CONNECTIONS_OF_AN_ADDRESS).await;
    plane.certified("pod-token").await.unwrap();
    plane.end().await;
}

#[test]
fn addresses_that_take_every_place_leave_what_runs_and_the_control_planes_files() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = command.args(["--exact", "flood::addresses_take_every_place", "--ignored"]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[tokio::test]
#[ignore = "the other test's process, since all of it has few files"]
async fn addresses_take_every_place() {
    const FILES: u64 = 256;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, FILES, hard).unwrap();
    let plane = Plane::start().await;
    let credential = plane.certified_for("pod-token", 600).await.unwrap();
    let tls = MeshTls::new(credential, &plane.trust()).unwrap();
    let config = tls.client_config(&[identity("weft-controller")], &[b"h2"]);
    let (requests, mut answers) = plane.stream(config, "shop/web-1").await.unwrap();
    soon(answers.message()).await.unwrap().unwrap();
    // So many places were counted; the flood needs files as well.
    may_open_many();
    let _clock = Clock::stop();
    let mut flood = Vec::new();
    for number in 0..2 * FILES {
        let from = Ipv4Addr::new(127, 0, 6, 1 + number as u8 / CONNECTIONS_OF_AN_ADDRESS as u8);
        flood.push(connect_from(from, plane.proxies).await);
    }
    let open = || flood.iter().filter(|stream| !is_closed(stream)).count();
    let places = FILES as usize * 3 / 4;
    eventually(|| open() < places).await;
    assert!(open() >= places - 2, "{} are open", open());
    let resource_names_subscribe = vec!["nobody.shop.svc.cluster.local".to_owned()];
    let type_url = DESTINATION_TYPE.to_owned();
    let ask = DeltaDiscoveryRequest { type_url, resource_names_subscribe, ..DeltaDiscoveryRequest::default() };
    requests.send(ask).await.unwrap();
    assert_eq!(soon(answers.message()).await.unwrap().unwrap().removed_resources.len(), 1, "what runs goes on");
    drop(flood);
    plane.certified("pod-token").await.unwrap();
    plane.end().await;
}

/// Lets this process have both ends of many connections.
pub(crate) fn may_open_many() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[tokio::test]
async fn a_scraper_whose_head_does_not_end_is_left() {
    let mesh = Mesh::start();
    let metrics = mesh.status().await.metrics_address.unwrap().parse().unwrap();
    let _clock = Clock::stop();
    let mut scraper = connect_from(Ipv4Addr::LOCALHOST, metrics).await;
    let head = |bytes: usize| format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(bytes));
    scraper.write_all((head(SCRAPER_HEAD_BYTES / 2) + "\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    soon(scraper.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let mut endless = connect_from(Ipv4Addr::LOCALHOST, metrics).await;
    endless.write_all(head(SCRAPER_HEAD_BYTES).as_bytes()).await.unwrap();
    eventually(|| is_closed(&endless)).await;
    mesh.end().await;
}

#[tokio::test]
async fn a_client_is_told_how_many_calls_a_connection_may_have() {
    let mesh = Mesh::start();
    let mut client = tokio::net::UnixStream::connect(mesh.socket()).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // RFC 9113, 6.5.2: SETTINGS_MAX_CONCURRENT_STREAMS, which HTTP/2 itself holds a client to.
    let setting = [&[0, 3][..], &CALLS.to_be_bytes()].concat();
    let mut said = Vec::new();
    while !said.windows(setting.len()).any(|part| part == setting) {
        assert!(soon(client.read_buf(&mut said)).await.unwrap() > 0, "{said:?}");
    }
    drop(client);
    mesh.end().await;
}

#[tokio::test]
async fn command_lines_beyond_the_bound_are_turned_away_until_others_have_gone() {
    may_open_many();
    let plane = Plane::start().await;
    let mut silent = Vec::new();
    for _ in 0..COMMAND_LINES {
        silent.push(connect_from(Ipv4Addr::LOCALHOST, plane.command_line).await);
    }
    let beyond = connect_from(Ipv4Addr::LOCALHOST, plane.command_line).await;
    eventually(|| is_closed(&beyond)).await;
    assert!(!silent.iter().any(is_closed));
    drop(silent);
    plane.answers().await;
    plane.end().await;
}

#[tokio::test]
async fn streams_beyond_a_workloads_bound_are_refused_and_others_are_served() {
    const STREAMS: usize = 20;
    const OF_A_WORKLOAD: usize = 4;
    let mesh = Mesh::start();
    let launchers = [mesh.launch("web").await, mesh.launch("api").await];
    let channel = mesh.channel().await;
    let subscribe = |token: &str| {
        let requests = tokio_stream::pending::<DeltaDiscoveryRequest>();
        let request = with_token(requests, token);
        let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
        async move { client.delta_aggregated_resources(request).await }
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        for launcher in &launchers {
            open.extend(soon(subscribe(&launcher.assigned.token)).await);
        }
    }
    assert_eq!(open.len(), 2 * OF_A_WORKLOAD);
    assert!(mesh.subscribe(&launchers[0].assigned.token).await.is_err(), "its workload has its fill");
    mesh.launch("late").await;
    drop(open);
    mesh.end().await;
}

#[tokio::test]
async fn a_proxy_that_reads_nothing_holds_up_no_other() {
    let mesh = Mesh::start();
    let (web, api) = (mesh.launch("web").await, mesh.launch("api").await);
    let mut stalled = mesh.subscribe(&web.assigned.token).await.unwrap();
    stalled.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    let mut proxy = mesh.subscribe(&api.assigned.token).await.unwrap();
    proxy.ask(INBOUND_TYPE, &[&api.assigned.workload]).await;
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Permissive);
    for round in 0..20 {
        let (text, mode) = [(STRICT, MtlsMode::Strict), (DISABLE, MtlsMode::Disable)][round % 2];
        mesh.edit("a.yaml", text);
        assert_eq!(proxy.inbound().await.peer_authentication.default.mode, mode, "round {round}");
    }
    mesh.edit("last.yaml", &STRICT.replace("istio-system", "default"));
    let is_last =
        |inbound: Inbound| inbound.peer_authentication.default.origin.is_some_and(|origin| origin.file == "last.yaml");
    assert!(is_last(proxy.inbound().await));
    // So many were sent without an answer; all others have merged into the newest.
    let mut sent = 1;
    while !is_last(stalled.inbound().await) {
        sent += 1;
    }
    assert!(sent <= 9, "{sent} responses");
    mesh.end().await;
}
