//! Floods: whoever opens connections or streams without end keeps nobody else out, and the proxy holds no
//! more than its bounds allow.

use std::io::{BufRead, BufReader, ErrorKind, Lines, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;

use rustls::{ClientConnection, StreamOwned};
use weft_identity::{MeshTls, server_name};
use weft_mesh::record::{AppProtocol, Destination, ServicePort};
use weft_proxy::limits::{
    ADMIN_CLIENTS, ADMIN_HEAD_BYTES, DNS_DATAGRAM_BYTES, DNS_MESSAGE_BYTES, INBOUND_CONNECTIONS, INBOUND_HANDSHAKES,
    LANE_BACKLOG_BYTES, LANE_CALLEE_STREAMS, OUTBOUND_CONNECTIONS,
};
use weft_wire::frame::{Event, FRAME_HEAD_BYTES, Frame};
use weft_wire::head::{self, Head, Kind};

use crate::dns::ask_at;
use crate::harness::*;
use crate::http::{alone, anonymous_kib, head_of};
use crate::skipped::skipped;

/// Whoever floods has another address than those who don't, and another one in each process: what an earlier one has
/// left in TIME_WAIT takes none of its ports.
fn flooder_ip() -> IpAddr {
    let own = std::process::id() & 0x7f_ffff;
    Ipv4Addr::from_bits(127 << 24 | 1 << 23 | own).into()
}

fn connect_from(ip: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // The port is chosen when it connects: there are more of them then, and they are found sooner.
    setsockopt(&socket, IpBindAddressNoPort, &true).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    patient(socket.into())
}

/// Whether the other side has neither said anything nor closed.
pub(crate) fn is_open(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let peeked = socket.peek(&mut [0]);
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Asks through both proxies, and is answered.
pub(crate) fn exchange(web: &Proxy, listener: &TcpListener) {
    let (mut caller, mut callee) = (web.connect(), accept(listener));
    caller.write_all(b"ping").unwrap();
    callee.read_exact(&mut [0; 4]).unwrap();
}

/// A caller of the mesh whose proxy does as it likes: its connection to `api`.
pub(crate) fn mallory(mesh: &Mesh, api: &Proxy) -> StreamOwned<ClientConnection, TcpStream> {
    let tls = MeshTls::new(Arc::new(mesh.credential("mallory")), &mesh.trust()).unwrap();
    let config = tls.client_config(&[id("api")], &[head::ALPN]);
    StreamOwned::new(ClientConnection::new(config, server_name()).unwrap(), connect_from(flooder_ip(), api.mesh))
}

/// Says that a connection is a lane.
pub(crate) fn lane() -> Vec<u8> {
    let at = SocketAddr::new(CALLEE, 1);
    let mut bytes = Vec::new();
    Head { kind: Kind::Lane, destination: at, source: at, trace: None }.encode(&mut bytes);
    bytes
}

fn pair(port: u16) -> (Mesh, Proxy, Proxy) {
    let mesh = Mesh::new();
    let (web, api) = mesh.pair(port);
    (mesh, web, api)
}

#[test]
fn handshakes_that_never_end_keep_nobody_out() {
    alone("flood::handshakes_that_never_end_keep_nobody_out", handshakes_that_never_end_keep_nobody_out_alone);
}

fn handshakes_that_never_end_keep_nobody_out_alone() {
    let (listener, port) = program();
    let (_mesh, web, api) = pair(port);
    let before = anonymous_kib();
    // A record of a handshake that is announced and doesn't come.
    let begun = |_| {
        let mut socket = connect_from(flooder_ip(), api.mesh);
        socket.write_all(&[22, 3, 1, 2, 0]).unwrap();
        socket
    };
    let flood: Vec<TcpStream> = (0..2 * INBOUND_HANDSHAKES).map(begun).collect();
    let silent: Vec<TcpStream> = (0..200).map(|_| connect_from(flooder_ip(), api.mesh)).collect();
    exchange(&web, &listener);
    assert!(is_open(&silent[199]), "nobody has made room by ending");
    let held = anonymous_kib() - before;
    assert!(held < 64 << 10, "{} connections hold {held} KiB", flood.len() + silent.len());
}

#[test]
fn probes_are_answered_whoever_floods_their_port() {
    let api = Mesh::new().proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let flood: Vec<TcpStream> = (0..ADMIN_CLIENTS).map(|_| connect_from(flooder_ip(), api.admin)).collect();
    assert!(api.page("/live").starts_with("HTTP/1.1 200 "));
    assert!(is_open(&flood[0]), "nobody has made room by ending");
    let closed = flood.iter().filter(|socket| !is_open(socket)).count();
    assert_eq!(closed, ADMIN_CLIENTS / 2, "an address has half");
}

#[test]
fn a_probe_whose_head_does_not_end_is_answered_by_its_beginning() {
    let api = Mesh::new().proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let mut socket = patient(TcpStream::connect(api.admin).unwrap());
    let mut head = b"GET /live HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    head.resize(ADMIN_HEAD_BYTES, b'x');
    socket.write_all(&head).unwrap();
    assert!(head_of(&mut socket).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_caller_that_asks_and_never_reads_loses_its_lane_and_nobody_else_anything() {
    alone("flood::a_caller_that_asks_and_never_reads_loses_its_lane_and_nobody_else_anything", never_reads);
}

fn never_reads() {
    let (listener, port) = program();
    let (mesh, web, api) = pair(port);
    exchange(&web, &listener);
    let before = anonymous_kib();
    let mut lane_of_mallory = mallory(&mesh, &api);
    lane_of_mallory.write_all(&lane()).unwrap();
    let mut most = 0;
    let mut stream = 0;
    let broke = loop {
        let mut frames = Vec::new();
        for _ in 0..1_000 {
            stream += 1;
            Frame { stream, event: Event::End }.encode(&mut frames);
        }
        if let Err(error) = lane_of_mallory.write_all(&frames) {
            break error;
        }
        most = most.max(anonymous_kib().saturating_sub(before));
        // Both kernels' buffers are full long before.
        assert!(u64::from(stream) * (FRAME_HEAD_BYTES as u64) < 256 << 20, "it goes on for ever");
    };
    assert!(matches!(broke.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{broke}");
    // What waits, and the copy of it that is being sent.
    assert!(most < 8 * (LANE_BACKLOG_BYTES as u64 >> 10), "{most} KiB were held");
    exchange(&web, &listener);
}

#[test]
fn streams_beyond_the_bound_end_unread_and_others_go_on() {
    let (listener, port) = program();
    let (mesh, web, api) = pair(port);
    let mut lane_of_mallory = mallory(&mesh, &api);
    let mut bytes = lane();
    // Each begins a head and doesn't end it.
    for stream in 1..=LANE_CALLEE_STREAMS as u32 + 1 {
        Frame { stream, event: Event::Data(&[0]) }.encode(&mut bytes);
    }
    lane_of_mallory.write_all(&bytes).unwrap();
    let mut expected = Vec::new();
    Frame { stream: LANE_CALLEE_STREAMS as u32 + 1, event: Event::End }.encode(&mut expected);
    let mut heard = vec![0; expected.len()];
    lane_of_mallory.read_exact(&mut heard).unwrap();
    assert_eq!(heard, expected, "the first answer is to the one too many");
    exchange(&web, &listener);
}

#[test]
fn frames_that_break_the_rules_end_the_lane_alone() {
    let (listener, port) = program();
    let (mesh, web, api) = pair(port);
    let longer = [0, 0, 0, 1, 1, 0xff, 0xff, 0xff];
    let unknown = [0, 0, 0, 1, 9, 0, 0, 0];
    for frame in [longer, unknown] {
        let mut lane_of_mallory = mallory(&mesh, &api);
        lane_of_mallory.write_all(&[&lane()[..], &frame].concat()).unwrap();
        assert!(matches!(lane_of_mallory.read(&mut [0; 64]), Ok(0) | Err(_)));
        exchange(&web, &listener);
    }
}

#[test]
fn clients_that_never_end_their_requests_hold_up_nobody() {
    alone("flood::clients_that_never_end_their_requests_hold_up_nobody", never_end);
}

fn never_end() {
    const EACH: usize = 300;
    let (listener, port) = program();
    let (_mesh, web, _api) = pair(port);
    answer_now(listener);
    let ask = || ask_now(&mut web.connect());
    ask();
    let before = anonymous_kib();
    let half_a_head = [&b"GET /slow HTTP/1.1\r\nhost: api\r\nx: "[..], &[b'x'; 32 << 10]].concat();
    let half_a_body = b"POST /slow HTTP/1.1\r\nhost: api\r\ncontent-length: 1000000\r\n\r\nand";
    let begun = |bytes: &[u8]| {
        let mut caller = web.connect();
        caller.write_all(bytes).unwrap();
        caller
    };
    let flood: Vec<TcpStream> = (0..EACH).flat_map(|_| [begun(&half_a_head), begun(half_a_body)]).collect();
    ask();
    assert!(flood.iter().all(is_open), "nobody has made room by ending");
    // A head that may become 64 KiB, in both proxies and twice at most.
    let held = anonymous_kib().saturating_sub(before);
    assert!(held < (EACH as u64) * 256, "{held} KiB were held");
}

/// A program that waits for what it was promised, and answers what asks for it at once.
fn answer_now(listener: TcpListener) {
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            std::thread::spawn(move || {
                while head_of(&mut socket).starts_with("GET /now ") {
                    socket.write_all(NOW).unwrap();
                }
                socket.read_to_end(&mut Vec::new())
            });
        }
    });
}

const ASKS_NOW: &[u8] = b"GET /now HTTP/1.1\r\nhost: api\r\n\r\n";
const NOW: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn ask_now(caller: &mut TcpStream) {
    caller.write_all(ASKS_NOW).unwrap();
    caller.read_exact(&mut [0; NOW.len()]).unwrap();
}

/// What an address may have of all connections.
const HALF: usize = INBOUND_CONNECTIONS / 2;
/// Descriptors of one of the two processes: one has the proxy's ends, the other the flooder's.
const NEEDED: u64 = HALF as u64 + 200;

#[test]
fn an_address_has_half_of_all_connections_and_others_have_theirs() {
    if is_skipped_for(NEEDED) {
        return;
    }
    alone("flood::an_address_has_half_of_all_connections_and_others_have_theirs", half_of_all_connections);
}

fn half_of_all_connections() {
    assert!(may_open(NEEDED));
    let (listener, port) = program();
    let mesh = Mesh::new();
    // Its clock stands still: else the first would be closed, as they say nothing, before the last have come.
    let (api, _clock) = mesh.held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(api.mesh))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    exchange(&web, &listener);
    let before = anonymous_kib();
    let flooder = Flooder::start(api.mesh, HALF + 1);
    // The one too many is closed, and nobody else's.
    api.wait_metric("weft_crowded_total 1\n");
    api.wait_metrics(|page| inbound_of(page) >= HALF);
    exchange(&web, &listener);
    let held = anonymous_kib().saturating_sub(before);
    assert!(held < 16 * HALF as u64, "{HALF} connections hold {held} KiB");
    flooder.end();
    api.wait_metrics(|page| inbound_of(page) < 100);
    let again = connect_from(flooder_ip(), api.mesh);
    exchange(&web, &listener);
    assert!(is_open(&again), "there is room again");
}

/// Callers' connections, as a page of metrics tells.
fn inbound_of(page: &str) -> usize {
    gauge(page, "weft_inbound_connections ")
}

/// The program's connections, likewise.
fn outbound_of(page: &str) -> usize {
    gauge(page, "weft_outbound_connections ")
}

pub(crate) fn gauge(page: &str, name: &str) -> usize {
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

#[test]
fn a_program_has_so_many_connections_and_further_ones_wait_for_room() {
    if is_skipped_for(ALL_OF_A_PROGRAM) {
        return;
    }
    alone("flood::a_program_has_so_many_connections_and_further_ones_wait_for_room", further_ones_wait);
}

/// Descriptors of the proxy's ends of all of a program's connections, and some.
const ALL_OF_A_PROGRAM: u64 = OUTBOUND_CONNECTIONS as u64 + 200;

fn further_ones_wait() {
    assert!(may_open(ALL_OF_A_PROGRAM));
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    // HTTP by declaration: nobody is dialled for a client that says nothing.
    let ports = vec![ServicePort { port, target: port, protocol: AppProtocol::Http }];
    mesh.registry.put(Destination { ports, ..service("api", &[(CALLEE, Tunnel::Mesh(api.mesh))]) });
    let [web, shop] = ["web", "shop"].map(|name| mesh.proxy(name, CALLER, SocketAddr::new(SERVICE, port)));
    answer_now(listener);
    let [mut first, mut others] = [web.connect(), shop.connect()];
    let mut go_on = || [&mut first, &mut others].map(ask_now);
    go_on();
    let before = anonymous_kib();
    let flooder = Flooder::start(web.outbound, OUTBOUND_CONNECTIONS);
    web.wait_metrics(|page| outbound_of(page) >= OUTBOUND_CONNECTIONS);
    let mut late = web.connect();
    late.write_all(ASKS_NOW).unwrap();
    go_on();
    let held = anonymous_kib().saturating_sub(before);
    assert!(held < 8 * OUTBOUND_CONNECTIONS as u64, "{OUTBOUND_CONNECTIONS} connections hold {held} KiB");
    assert_eq!(outbound_of(&web.page("/metrics")), OUTBOUND_CONNECTIONS, "two more wait");
    flooder.end();
    late.read_exact(&mut [0; NOW.len()]).unwrap();
    web.wait_metrics(|page| outbound_of(page) < 100);
}

#[test]
fn a_proxy_calls_from_its_own_address_and_so_has_a_half_of_its_own() {
    let (mesh, callee) = (Mesh::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(callee.local_addr().unwrap()))]));
    let at = SocketAddr::new(flooder_ip(), 0);
    let web = mesh.proxy_at("web", CALLER, SocketAddr::new(SERVICE, 80), at);
    let _caller = web.connect();
    assert_eq!(callee.accept().unwrap().1.ip(), web.mesh.ip());
}

/// A process that has connections and says nothing on them.
struct Flooder {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Flooder {
    /// Returns when it has opened so many.
    fn start(to: SocketAddr, connections: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["flood::floods", "--exact", "--ignored", "--nocapture"])
            .env(FLOODED, format!("{} {to} {connections}", flooder_ip()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().ends_with(DONE)), "it opens them all");
        Self { process, said }
    }

    /// Ends, and all its connections with it.
    fn end(mut self) {
        drop(self.process.stdin.take());
        assert!(self.said.any(|line| line.unwrap().contains("1 passed")));
        assert!(self.process.wait().unwrap().success());
    }
}

const FLOODED: &str = "WEFT_TEST_FLOODED";
const DONE: &str = "all are open";

/// As many connections as it is told, until the other test is done with them.
#[test]
#[ignore = "the other test's peer"]
fn floods() {
    let told = std::env::var(FLOODED).unwrap();
    let [from, to, connections] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let connections: usize = connections.parse().unwrap();
    assert!(may_open(connections as u64 + 200));
    let flood: Vec<TcpStream> = (0..connections).map(|_| connect_from(from, to)).collect();
    println!("{DONE}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(flood);
}

/// Whether a test can't have so many descriptors here; it is told, then.
fn is_skipped_for(descriptors: u64) -> bool {
    let lacks = !may_open(descriptors);
    if lacks {
        skipped(&format!("expected to be let open {descriptors} descriptors, found fewer (ulimit -Hn)"));
    }
    lacks
}

/// Whether this process may open so many descriptors, raised where that is allowed: root may beyond the hard limit.
pub(crate) fn may_open(descriptors: u64) -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let raised = hard.max(descriptors);
    soft >= descriptors || setrlimit(Resource::RLIMIT_NOFILE, raised, raised).is_ok()
}

#[test]
fn what_is_no_question_and_connections_that_stall_keep_no_name_from_its_answer() {
    alone("flood::what_is_no_question_and_connections_that_stall_keep_no_name_from_its_answer", no_questions);
}

fn no_questions() {
    const STALLED: usize = 1_000;
    let mesh = Mesh::new();
    mesh.registry.put(service("api", &[]));
    let web = mesh.proxy("web", CALLER, "10.0.0.53:53".parse().unwrap());
    let is_answered = || {
        let answer = ask_at(web.dns, "api.default.svc", simple_dns::TYPE::A);
        assert_eq!(simple_dns::Packet::parse(&answer).unwrap().answers.len(), 1);
    };
    is_answered();
    let before = anonymous_kib();
    let garbage = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 11, 12, 13, 512, DNS_DATAGRAM_BYTES, DNS_DATAGRAM_BYTES + 1, 60_000] {
        for byte in [0, 0x80, 0xc0, 0xff] {
            garbage.send_to(&vec![byte; length], web.dns).unwrap();
        }
        is_answered();
    }
    // A longer message than is read, whatever of it comes.
    let mut longer = web.connect();
    longer.write_all(&(DNS_MESSAGE_BYTES as u16 + 1).to_be_bytes()).unwrap();
    assert!(matches!(longer.read(&mut [0; 64]), Ok(0) | Err(_)));
    let half = [&(DNS_MESSAGE_BYTES as u16).to_be_bytes()[..], &[0xff; DNS_MESSAGE_BYTES / 2]].concat();
    let stalled = |_| {
        let mut socket = web.connect();
        socket.write_all(&half).unwrap();
        socket
    };
    let flood: Vec<TcpStream> = (0..STALLED).map(stalled).collect();
    is_answered();
    let held = anonymous_kib().saturating_sub(before);
    assert!(held < (flood.len() * 2 * DNS_MESSAGE_BYTES) as u64 >> 10, "{held} KiB were held");
}
