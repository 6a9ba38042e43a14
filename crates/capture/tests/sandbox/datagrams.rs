//! Datagrams other than DNS queries: what reaches the proxy, how it answers, and what the kernel refuses.

use std::net::SocketAddr;
use std::process::Command;

use nix::unistd::geteuid;
use weft_capture::{Ended, Sandbox};
use weft_wire::bootstrap::Redirection;

use crate::rig::{OWN, PEER, Scene, datagram, receive_query, socket};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("datagrams_reach_the_proxy_and_are_answered", datagrams),
    ("datagrams_without_a_proxy_go_nowhere", no_proxy_no_datagram),
    ("datagrams_that_cant_be_captured_are_refused", redirected_datagrams),
    ("datagrams_without_raw_sockets_are_refused", no_raw_sockets),
];

const DATAGRAMS: &str = "
import socket, sys
for ip in sys.argv[1:]:
    f = socket.AF_INET6 if ':' in ip else socket.AF_INET
    s = socket.socket(f, socket.SOCK_DGRAM); s.settimeout(0.2); s.bind(('', 0)); port = s.getsockname()[1]
    c = socket.socket(f, socket.SOCK_DGRAM); c.settimeout(0.2); c.connect((ip, port)); c.send(b'x')
    try: print(s.recv(10).decode())
    except OSError: pass
    try: c.recv(10)
    except ConnectionRefusedError: print('refused')
    except OSError as e: print('no answer')
";

/// The program has bound the very port that it sends to, at every address: answers from there come all the same.
fn datagrams() {
    let code = "
import socket, sys
for ip in sys.argv[1:]:
    f = socket.AF_INET6 if ':' in ip else socket.AF_INET
    taken = socket.socket(f, socket.SOCK_DGRAM); taken.bind(('', 4000))
    for c in (socket.socket(f, socket.SOCK_DGRAM), taken):
        c.settimeout(30); c.sendto(b'question', (ip, 4000)); print(*c.recvfrom(100)[:2])
    taken.close()
";
    let scene = Scene::python(code, &["198.51.100.9", "2001:db8::9", PEER[0]]);
    let Sandbox { datagrams, program, .. } = scene.prepare();
    let mut program = program.start().unwrap();
    let (captured, answers): (Vec<_>, Vec<_>) = datagrams.into_iter().map(|pair| (pair.captured, pair.answers)).unzip();
    for to in ["198.51.100.9", "198.51.100.9", "2001:db8::9", "2001:db8::9", PEER[0], PEER[0]] {
        let (family, bytes, from, meant) = receive_query(&captured);
        let to = socket(to, 4000);
        assert_eq!((bytes.as_slice(), meant), (&b"question"[..], Some(to)));
        assert_eq!(from.ip(), socket(OWN[family], 0).ip());
        let raw = socket2::SockRef::from(&answers[family]);
        raw.send_to(&datagram(to, from, b"answer"), &SocketAddr::new(from.ip(), 0).into()).unwrap();
    }
    assert_eq!(program.wait().unwrap(), Ended::Code(0), "{}", scene.output());
    let answer = |ip: &str| format!("b'answer' ('{ip}', 4000)\n").repeat(2);
    let expected =
        ["198.51.100.9", "2001:db8::9", PEER[0]].map(answer).concat().replace("::9', 4000", "::9', 4000, 0, 0");
    assert_eq!(scene.output(), expected);
}

/// A socket bound to every address must not get what was meant for elsewhere.
fn no_proxy_no_datagram() {
    let scene = Scene::python(DATAGRAMS, &[PEER[0], PEER[1], "8.8.8.8", OWN[0], OWN[1], "127.0.0.1"]);
    let (ended, output) = scene.run();
    assert_eq!(ended, Ended::Code(0), "{output}");
    assert_eq!(output, "no answer\nno answer\nno answer\nx\nno answer\nx\nno answer\nx\nno answer\n");
}

fn redirected_datagrams() {
    refused_datagrams(Some(Redirection::Redirect), "no TPROXY");
}

/// As root in a container that has no CAP_NET_RAW.
fn no_raw_sockets() {
    if !geteuid().is_root() {
        println!("skipped: an ordinary user's raw sockets are those of its own namespace");
        return;
    }
    let drop = ["--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("setpriv").args(drop).arg(exe).args(["--case", WITHOUT_RAW]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn without_raw_sockets() {
    refused_datagrams(None, "a raw socket needs CAP_NET_RAW");
}

fn refused_datagrams(redirection: Option<Redirection>, why: &str) {
    let mut scene = Scene::python(DATAGRAMS, &[PEER[0], PEER[1], "8.8.8.8", OWN[0], OWN[1], "127.0.0.1"]);
    scene.plan.redirection = redirection;
    let Sandbox { datagrams, notes, program, .. } = scene.prepare();
    let is_told = |note: &String| note.starts_with("UDP other than DNS is refused: ") && note.contains(why);
    assert!(datagrams.is_empty() && notes.iter().any(is_told), "{notes:?}");
    assert_eq!(program.start().unwrap().wait().unwrap(), Ended::Code(0), "{}", scene.output());
    let expected = "refused\nrefused\nrefused\nx\nno answer\nx\nno answer\nx\nno answer\n";
    assert_eq!(scene.output(), expected);
}

/// A case that only [`no_raw_sockets`] runs.
pub(crate) const WITHOUT_RAW: &str = "without_raw_sockets";
