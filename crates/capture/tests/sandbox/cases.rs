//! Capture: what reaches the proxy, and how the proxy reaches the program.

use std::io::Read;
use std::net::{TcpStream, UdpSocket};

use weft_capture::{Ended, Sandbox};
use weft_wire::bootstrap::Redirection;
use weft_wire::maker::{Family, Request};

use crate::rig::{NAMESERVER, OWN, PEER, Scene, dns_answer, make, receive_query, serve, socket, wait_until};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("tcp_reaches_the_proxy_with_its_destination", tcp_reaches_the_proxy),
    ("curl_reaches_the_proxy", curl_reaches_the_proxy),
    ("redirect_tells_the_destination_too", redirect),
    ("own_traffic_stays_inside", own_traffic_stays_inside),
    ("dns_reaches_the_proxy_and_is_answered", dns),
    ("a_name_server_that_stays_inside_is_captured", near_nameserver),
    ("redirected_dns_is_answered_from_the_listener", redirected_dns),
    ("a_program_sees_its_caller", program_sees_its_caller),
    ("the_maker_serves_batches_and_refuses_nonsense", batches),
    ("many_connections_at_once", many_connections),
    ("a_port_is_used_again_at_once", same_port_again),
];

const CONNECT: &str = "
import socket, sys
for ip, port in zip(sys.argv[1::2], sys.argv[2::2]):
    s = socket.create_connection((ip, int(port)), 30)
    s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
    print(s.getsockname()[0], s.getpeername()[0], b'proxy' in s.recv(500))
";

fn tcp_reaches_the_proxy() {
    let scene = Scene::python(CONNECT, &[PEER[0], "8080", PEER[1], "80", "8.8.8.8", "53"]);
    let (output, accepted) = scene.run_with_proxy();
    let expected = format!("{} {} True\n{} {} True\n{} 8.8.8.8 True\n", OWN[0], PEER[0], OWN[1], PEER[1], OWN[0]);
    assert_eq!(output, expected);
    let mut local: Vec<_> = accepted.iter().map(|accepted| accepted.local).collect();
    local.sort();
    assert_eq!(local, [socket("8.8.8.8", 53), socket(PEER[0], 8080), socket(PEER[1], 80)]);
    for accepted in accepted {
        let own = OWN[usize::from(accepted.local.is_ipv6())];
        assert_eq!(accepted.peer.ip(), own.parse::<std::net::IpAddr>().unwrap());
    }
}

fn curl_reaches_the_proxy() {
    if !std::path::Path::new("/usr/bin/curl").exists() {
        println!("skipped: curl is not installed");
        return;
    }
    let scene = Scene::new(&["curl", "-sS", "-m", "30", "http://240.240.9.9:8080/"]);
    let (output, accepted) = scene.run_with_proxy();
    assert_eq!(output, "proxy\n");
    assert_eq!(accepted[0].local, socket(PEER[0], 8080));
}

fn redirect() {
    let mut scene = Scene::python(CONNECT, &[PEER[0], "8080", PEER[1], "80"]);
    scene.plan.redirection = Some(Redirection::Redirect);
    let (output, accepted) = scene.run_with_proxy();
    let expected = format!("{} {} True\n{} {} True\n", OWN[0], PEER[0], OWN[1], PEER[1]);
    assert_eq!(output, expected);
    assert_eq!(accepted.len(), 2);
    let v4 = accepted.iter().find(|accepted| accepted.local.is_ipv4()).unwrap();
    assert_eq!((v4.local, v4.translated_from), (socket("127.0.0.1", 15001), Some(socket(PEER[0], 8080))));
}

/// Loopback and the workload's own addresses, and a program that listens everywhere catches nothing else.
fn own_traffic_stays_inside() {
    let code = "
import socket, sys, threading
l = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
def serve():
    while True:
        c, p = l.accept(); c.recv(100); c.sendall(b'inside'); c.close()
threading.Thread(target=serve, daemon=True).start()
for ip in sys.argv[1:]:
    s = socket.create_connection((ip, 80), 30); s.sendall(b'x'); print(ip, s.recv(100)[:8].decode())
";
    let scene = Scene::python(code, &["127.0.0.1", "127.5.5.5", "::1", OWN[0], OWN[1], PEER[0], PEER[1]]);
    let (output, accepted) = scene.run_with_proxy();
    let at: Vec<&str> = output.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(at, ["inside", "inside", "inside", "inside", "inside", "HTTP/1.1", "HTTP/1.1"], "{output}");
    assert_eq!(accepted.len(), 2);
}

fn dns() {
    // glibc's own resolver, by a short name: resolv.conf names the server and the suffix.
    let scene = Scene::new(&["getent", "ahostsv4", "payments"]);
    let Sandbox { dns, maker, program, .. } = scene.prepare();
    let mut program = program.start().unwrap();
    let (_, query, from, asked) = receive_query(&dns);
    let asked = asked.expect("the original destination");
    assert_eq!(asked, socket(NAMESERVER, 53));
    let (name, answer) = dns_answer(&query, [240, 240, 9, 9]);
    assert_eq!(name, "payments.default.svc.cluster.local");
    let reply = UdpSocket::from(make(&maker, Request::DnsReply(asked)).pop().unwrap());
    // A second one at the same address disturbs neither answers nor queries.
    let _second = make(&maker, Request::DnsReply(asked)).pop().unwrap();
    reply.send_to(&answer, from).unwrap();
    assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
    assert!(scene.output().starts_with("240.240.9.9"), "{}", scene.output());
}

const ASK: &str = "
import socket, sys
f = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
for i in range(3):
    s = socket.socket(f, socket.SOCK_DGRAM); s.settimeout(30); s.connect((sys.argv[1], 53))
    s.send(b'question'); print(s.recv(100).decode())
";

fn near_nameserver() {
    for server in ["127.0.0.53", OWN[1]] {
        ask_near_nameserver(server);
    }
}

fn ask_near_nameserver(server: &str) {
    let mut scene = Scene::python(ASK, &[server]);
    scene.plan.nameservers = vec![server.parse().unwrap()];
    let Sandbox { dns, maker, program, .. } = scene.prepare();
    let mut program = program.start().unwrap();
    for _ in 0..3 {
        let (_, query, from, asked) = receive_query(&dns);
        assert_eq!((query.as_slice(), asked), (&b"question"[..], Some(socket(server, 53))));
        let reply = UdpSocket::from(make(&maker, Request::DnsReply(asked.unwrap())).pop().unwrap());
        reply.send_to(b"answer", from).unwrap();
    }
    assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
}

fn redirected_dns() {
    for (index, server) in ["8.8.8.8", "fd77:6566:7400::53"].into_iter().enumerate() {
        let mut scene = Scene::python(ASK, &[server]);
        scene.plan.redirection = Some(Redirection::Redirect);
        let Sandbox { dns, program, .. } = scene.prepare();
        let mut program = program.start().unwrap();
        for _ in 0..3 {
            let (listener, _, from, _) = receive_query(&dns);
            assert_eq!(listener, index);
            UdpSocket::from(dns[listener].try_clone().unwrap()).send_to(b"answer", from).unwrap();
        }
        assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
    }
}

const SERVE: &str = "
import socket, sys
l = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
print('listens', flush=True)
for i in range(int(sys.argv[1])):
    c, p = l.accept(); c.sendall((p[0] + ' at ' + c.getsockname()[0]).encode()); c.close()
";

fn program_sees_its_caller() {
    let scene = Scene::python(SERVE, &["3"]);
    let Sandbox { maker, program, .. } = scene.prepare();
    let mut program = program.start().unwrap();
    scene.said("listens");
    let callers = [
        (Family::V4, "240.240.5.5", OWN[0]),
        (Family::V6, "fd77:6566:7400::5", OWN[1]),
        (Family::V6, "fd77:6566:7400::5", "::1"),
    ];
    for (family, caller, to) in callers {
        let stream = socket2::Socket::from(make(&maker, Request::Streams(family, 1)).pop().unwrap());
        stream.set_nonblocking(false).unwrap();
        stream.bind(&socket(caller, 0).into()).unwrap();
        stream.connect(&socket(to, 80).into()).unwrap();
        let mut said = String::new();
        TcpStream::from(stream).read_to_string(&mut said).unwrap();
        assert_eq!(said.replace("::ffff:", ""), format!("{caller} at {to}"));
    }
    assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
}

fn batches() {
    let scene = Scene::python(SERVE, &["1"]);
    let Sandbox { maker, program, .. } = scene.prepare();
    let mut program = program.start().unwrap();
    scene.said("listens");
    assert_eq!(make(&maker, Request::Streams(Family::V4, 64)).len(), 64);
    nix::sys::socket::send(std::os::fd::AsRawFd::as_raw_fd(&maker), b"nonsense", nix::sys::socket::MsgFlags::empty())
        .unwrap();
    let mut byte = [0; 1];
    assert_eq!(
        nix::sys::socket::recv(std::os::fd::AsRawFd::as_raw_fd(&maker), &mut byte, nix::sys::socket::MsgFlags::empty()),
        Ok(1)
    );
    let stream = socket2::Socket::from(make(&maker, Request::Streams(Family::V4, 2)).pop().unwrap());
    assert!(stream.nonblocking().unwrap() && stream.freebind_v4().unwrap());
    // A proxy that dies doesn't take the program with it.
    drop(maker);
    stream.set_nonblocking(false).unwrap();
    stream.connect(&socket("127.0.0.1", 80).into()).unwrap();
    assert_eq!(program.wait().unwrap(), Ended::Code(0));
}

fn many_connections() {
    let code = "
import socket, sys
n, ok = 1500, 0
for i in range(n):
    s = socket.create_connection(('240.240.9.%d' % (i % 200 + 1), 8080), 30)
    s.sendall(b'x'); ok += s.recv(10) != b''; s.close()
print(ok)
";
    let scene = Scene::python(code, &[]);
    let Sandbox { outbound, program, .. } = scene.prepare();
    let accepted = serve(outbound);
    let mut program = program.start().unwrap();
    assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
    assert_eq!(scene.output(), "1500\n");
    let mut count = 0;
    wait_until("all were accepted", || {
        count += accepted.try_iter().count();
        count == 1500
    });
}

/// The proxy closes first, so that its side of the old connection is in TIME_WAIT when the new one comes. The program's
/// own is over when its end is acknowledged, which a busy system does later.
fn same_port_again() {
    let code = "
import errno, socket, sys, time
def connect(ip):
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.settimeout(30)
    s.bind(('', 33333))
    return s if s.connect_ex((ip, 80)) != errno.EADDRNOTAVAIL else s.close()
for ip in sys.argv[1:]:
    for i in range(20):
        end = time.monotonic() + 30
        while (s := connect(ip)) is None: assert time.monotonic() < end
        s.sendall(b'x')
        while s.recv(1000): pass
        s.close()
";
    let (_, accepted) = Scene::python(code, &[PEER[0], PEER[1]]).run_with_proxy();
    assert_eq!(accepted.len(), 40);
    assert!(accepted.iter().all(|accepted| accepted.peer.port() == 33333));
}
