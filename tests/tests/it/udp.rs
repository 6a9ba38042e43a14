//! UDP of a workload: to the outside it passes and is counted, to the mesh it is refused and a line says so, and the
//! host's loopback is reached as by TCP. The outside is an address in a network that the test made.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{Installation, User, obstacle};

const OUTSIDE: [&str; 2] = ["198.51.100.1", "2001:db8::1"];

/// A mesh in a network with an outside.
fn mesh(user: User) -> Option<Mesh> {
    if let Some(obstacle) = obstacle() {
        eprintln!("skipped: no user namespaces: {obstacle}");
        return None;
    }
    match Installation::new(user).unwrap().within(&["198.51.100.1/32", "2001:db8::1/128"]) {
        Ok(installation) => Some(Mesh::of(installation, &[], &[]).unwrap()),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Sends back what it gets, at one port of each address; says which, and who asked.
const ECHO: &str = "
import socket, sys, threading
def serve(s):
    while True:
        data, peer = s.recvfrom(70000)
        s.sendto(data, peer)
for ip in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ip, 4000)); threading.Thread(target=serve, args=(s,)).start()
print('ready', flush=True)
";

/// A program outside of the mesh, until it is dropped.
struct Server(Child);

impl Server {
    fn start(mesh: &Mesh, code: &str, arguments: &[&str]) -> Self {
        let mut python = mesh.command("python3");
        python.args(["-c", code]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let server = Self(child);
        assert_eq!(said, "ready\n");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(mesh: &Mesh, flags: &[&str], code: &str, arguments: &[&str]) -> Output {
    let words = [&["caller"][..], flags, &["--", "python3", "-c", code], arguments].concat();
    mesh.run(&words).unwrap()
}

/// What a program writes that is told `code` in a workload.
fn said(mesh: &Mesh, flags: &[&str], code: &str, arguments: &[&str]) -> String {
    let output = python(mesh, flags, code, arguments);
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Reads what is written somewhere until `wanted` accepts it.
fn wait_for(read: impl Fn() -> String, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = read();
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "not yet: {text}");
        std::thread::yield_now();
    }
}

/// The control plane's page, with the counters of all proxies that run.
fn metrics(mesh: &Mesh) -> String {
    let output = mesh.command("curl").args(["-sS", "-m", "5", "http://127.0.0.1:15014/metrics"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a counter that only one proxy can have.
fn counter(page: &str, name: &str) -> u64 {
    let rows = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    rows.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

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
    many = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(200)]
    for s in many: s.connect(to); ask(s, b'%d' % s.fileno())
    for s in many: ask(s, b'again')
print('all came back')
";
/// What [`CALL`] sends.
const CALLED: u64 = 2 * (4 + 1 + 1 + 400);

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
        assert!(counter(&page, "weft_udp_flows") >= 404, "{page}");
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

/// Sends to each argument, and says what a connected socket is told.
const REFUSED: &str = "
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(':', 1)
    for family, _, _, _, address in socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM):
        s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.connect(address)
        for _ in range(100):
            try: s.send(b'hello'); s.recv(10); print('answered')
            except ConnectionRefusedError: pass
        print(place, 'refused')
";

#[test]
fn datagrams_to_the_mesh_are_refused_and_a_line_says_so() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.run_until(&["caller", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:8080/"], |output| {
        output.status.success()
    })
    .unwrap();
    mesh.start_workload(&[
        "other",
        "--",
        "python3",
        "-c",
        &format!("{REFUSED}\nimport time; time.sleep(1000)"),
        "web:8080",
        "240.240.9.9:5",
        "169.254.1.1:5",
    ])
    .unwrap();

    let page = wait_for(|| metrics(&mesh), |page| counter(page, "weft_udp_refused_total") == 400);
    assert_eq!(counter(&page, "weft_udp_sent_datagrams_total"), 0, "{page}");
    let log = wait_for(|| mesh.proxy_logs(), |log| log.matches("\"why\":\"udp\"").count() == 4);
    for detail in [
        "web.default.svc.cluster.local:8080: the mesh carries no UDP; call it over TCP",
        "240.240.9.9:5: the mesh carries no UDP",
        "169.254.1.1:5: link-local addresses are out of a workload's reach",
    ] {
        assert!(log.contains(&format!("\"detail\":\"{detail}")), "{detail}: {log}");
    }
    let output = std::fs::read_to_string(mesh.home().join("other-1.out")).unwrap();
    assert!(output.contains("web:8080 refused") && !output.contains("answered"), "{output}");
}

/// Asks 127.0.0.1's port by each name; says who answered.
const HOST: &str = "
import socket, sys
for ip in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30); s.connect((ip, 4000))
    try: s.send(b'hello'); print(s.recvfrom(100)[1][0])
    except OSError as error: print(error.strerror)
";

#[test]
fn the_hosts_loopback_is_reached_as_by_tcp() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &["127.0.0.1"]);
    let refused = "Connection refused\n".repeat(2);
    assert_eq!(said(&mesh, &[], HOST, &["host.weft.internal", "127.0.0.1", "::1"]), format!("240.240.0.1\n{refused}"));
    assert_eq!(said(&mesh, &["--forward", "4000"], HOST, &["127.0.0.1", "::1"]), "127.0.0.1\n::1\n");
}

#[test]
fn a_program_is_told_what_became_of_its_datagrams() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    // Nobody listens at the first two, and no way leads to the others.
    let out = said(&mesh, &[], HOST, &[OUTSIDE[0], OUTSIDE[1], "203.0.113.9", "2001:db8:9::9"]);
    assert_eq!(out, "Connection refused\n".repeat(4));
}

/// Floods, and says when it has begun.
const FLOOD: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 9))
n = 0
while True:
    try: s.send(b'x' * 1000)
    except ConnectionRefusedError: pass
    n += 1
    if n == 10000: print('floods', flush=True)
";

#[test]
fn a_flood_of_datagrams_starves_nobody() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.start_workload(&["caller", "--", "python3", "-c", FLOOD, OUTSIDE[0]]).unwrap();
    wait_for(|| std::fs::read_to_string(mesh.home().join("caller-1.out")).unwrap(), |text| text.contains("floods"));
    // The name is asked for as a datagram, and the call is TCP, both through the flooded proxy.
    let call = ["exec", "caller", "--", "curl", "-sSf", "-m", "30", "-o", "/dev/null", "http://web:8080/"];
    mesh.weft_until(&call, |output| output.status.success()).unwrap();
    for _ in 0..10 {
        let output = mesh.weft().args(call).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
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
        eprintln!("skipped: dig (bind9-dnsutils) is not installed");
        return;
    }
    let _server = Server::start(&mesh, NAMESERVER, &[OUTSIDE[0]]);
    let server = format!("@{}", OUTSIDE[0]);
    let output =
        mesh.run(&["caller", "--", "dig", "+short", "+notcp", &server, "-p", "5300", "www.example.com"]).unwrap();
    assert_eq!(output.stdout, b"192.0.2.7\n", "{}", told(&output));
}
