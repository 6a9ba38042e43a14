//! UDP to the outside, and to the host's loopback.

use weft_tests::mesh::told;
use weft_tests::{User, missing};

use super::rig::{ECHO, HOST, OUTSIDE, Server, counter, mesh, metrics, said, wait_for};

/// Connected and unconnected sockets, short, empty and long datagrams, and many flows at once.
const CALL: &str = "
import socket, sys
def ask(s, data, to=None):
    s.settimeout(30)
    if to: s.sendto(data, to)
    else: s.send(data)
    answer, peer = s.recvfrom(70000)
    assert answer == data, (len(answer), len(data))
    assert not to or peer[:2] == to, (peer, to)
for ip, longest in ((sys.argv[1], 65507), (sys.argv[2], 65488)):
    to, family = (ip, 4000), socket.AF_INET6 if ':' in ip else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_DGRAM); connected.connect(to)
    assert connected.getsockname()[0] in sys.argv[3:], connected.getsockname()
    for data in (b'short', b'', bytes(range(256)) * 20, b'x' * longest): ask(connected, data)
    free = socket.socket(family, socket.SOCK_DGRAM)
    ask(free, b'free', to)
    # The port that it calls is its own as well, as with NTP or SIP.
    same = socket.socket(family, socket.SOCK_DGRAM); same.bind(('', 4000))
    ask(same, b'same', to); same.close()
    # Ten datagrams in one call (UDP_SEGMENT), as QUIC's senders have it.
    ten = socket.socket(family, socket.SOCK_DGRAM); ten.connect(to); ten.settimeout(30)
    ten.setsockopt(socket.IPPROTO_UDP, 103, 1200); ten.send(b'y' * 12000)
    assert [len(ten.recv(70000)) for _ in range(10)] == [1200] * 10
    many = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(200)]
    for s in many: s.connect(to); ask(s, b'%d' % s.fileno())
    for s in many: ask(s, b'again')
print('all came back')
";
/// What [`CALL`] sends.
const CALLED: u64 = 2 * (4 + 1 + 1 + 10 + 400);

#[test]
fn datagrams_to_the_outside_pass_and_are_counted() {
    for user in User::all() {
        let Some(mut mesh) = mesh(user) else { return };
        let _server = Server::start(&mesh, ECHO, &OUTSIDE);
        mesh.start_workload(&["caller", "--", "sleep", "1000"]).unwrap();
        let own =
            "import socket; f = lambda k, ip: (s := socket.socket(k, 2), s.connect((ip, 1)), print(s.getsockname()[0]))
f(socket.AF_INET, '192.0.2.1'); f(socket.AF_INET6, '2001:db8::2')";
        let inside = ["exec", "caller", "--", "python3", "-c", own];
        let own = mesh.weft_until(&inside, |output| output.status.success()).unwrap();
        let own = String::from_utf8(own.stdout).unwrap();
        let own: Vec<&str> = own.lines().collect();
        let call = [&["exec", "caller", "--", "python3", "-c", CALL][..], &OUTSIDE, &own].concat();
        let output = mesh.weft().args(&call).output().unwrap();
        assert_eq!(output.stdout, b"all came back\n", "{}", told(&output));

        let page = wait_for(|| metrics(&mesh), |page| counter(page, "weft_udp_received_datagrams_total") >= CALLED);
        for of in ["sent", "received"] {
            assert_eq!(counter(&page, &format!("weft_udp_{of}_datagrams_total")), CALLED, "{page}");
            assert!(counter(&page, &format!("weft_udp_{of}_bytes_total")) > 130_000, "{page}");
        }
        assert!(counter(&page, "weft_udp_flows") >= 406, "{page}");
        assert_eq!(counter(&page, "weft_udp_refused_total") + counter(&page, "weft_udp_dropped_total"), 0, "{page}");
    }
}

#[test]
fn each_flow_has_a_line_in_the_access_log() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    let code = "
import socket, sys
for ip in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30); s.connect((ip, 4000)); s.send(b'twelve bytes'); s.recv(100)
";
    said(&mesh, &[], code, &OUTSIDE);
    let lines = |log: &str| -> Vec<serde_json::Value> {
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &serde_json::Value| line["protocol"] == "udp")
            .collect()
    };
    let log = wait_for(|| mesh.proxy_logs(), |log| lines(log).len() == 2);
    let mut to: Vec<String> =
        lines(&log).iter().map(|line| line["destination_address"].as_str().unwrap().to_owned()).collect();
    to.sort();
    assert_eq!(to, ["198.51.100.1:4000", "[2001:db8::1]:4000"]);
    for line in lines(&log) {
        assert_eq!(
            (&line["bytes_received"], &line["bytes_sent"], &line["flag"]),
            (&12.into(), &12.into(), &"-".into()),
            "{line}"
        );
        assert_eq!(line["destination_service"], "PassthroughCluster");
        assert!(line["source_workload"].as_str().unwrap().starts_with("caller"), "{line}");
    }
}

/// Answers each question with one address (RFC 1035).
const NAMESERVER: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 5300)); print('ready', flush=True)
while True:
    q, peer = s.recvfrom(2000)
    end = 12
    while q[end]: end += 1 + q[end]
    head = q[:2] + bytes([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
    s.sendto(head + q[12:end + 5] + bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 7]), peer)
";

#[test]
fn dig_asks_a_name_server_of_its_own_choice() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    if mesh.command("dig").arg("-v").output().is_ok_and(|output| !output.status.success()) {
        return missing("dig").unwrap_or_default();
    }
    let _server = Server::start(&mesh, NAMESERVER, &[OUTSIDE[0]]);
    let server = format!("@{}", OUTSIDE[0]);
    let output =
        mesh.run(&["caller", "--", "dig", "+short", "+notcp", &server, "-p", "5300", "www.example.com"]).unwrap();
    assert_eq!(output.stdout, b"192.0.2.7\n", "{}", told(&output));
}

/// It has port 53 of all its addresses, which are those that it asks as well.
#[test]
fn a_name_server_in_the_mesh_finds_names_itself() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    let code = "
import socket, time
for family, ip in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((ip, 53))
while True:
    try: print(socket.getaddrinfo('web', 8080)[0][4][0], flush=True); break
    except socket.gaierror: pass
time.sleep(1000)
";
    mesh.start_workload(&["names", "--", "python3", "-c", code]).unwrap();
    let said = wait_for(|| std::fs::read_to_string(mesh.home().join("names-1.out")).unwrap(), |said| !said.is_empty());
    assert!(said.starts_with("240.240.") || said.starts_with("fd77:6566:7400:"), "{said}");
}

#[test]
fn the_hosts_loopback_is_reached_as_by_tcp() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &["127.0.0.1"]);
    let refused = "Connection refused\n".repeat(2);
    assert_eq!(said(&mesh, &[], HOST, &["host.weft.internal", "127.0.0.1", "::1"]), format!("240.240.0.1\n{refused}"));
    assert_eq!(said(&mesh, &["--forward", "4000"], HOST, &["127.0.0.1", "::1"]), "127.0.0.1\n::1\n");
}
