//! `weft-init` in a network namespace: what it redirects, what it leaves alone, what it says. These
//! cases need root, as the container does.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{getsockopt, sockopt};

use crate::rig::{PATIENCE, PYTHON};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_pod_is_redirected_in_both_families", redirected),
    ("a_pod_skips_what_it_is_told_to", skipped),
    ("weft_init_says_what_it_needs", needs),
    ("weft_init_says_what_it_does_not_understand", misunderstands),
];

const WANTED: [&str; 3] = ["--proxy-uid=2102", "--outbound-port=15001", "--inbound-port=15006"];
/// Outside of the pod, as far as its routes go.
const ELSEWHERE: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];

fn redirected() {
    if !in_a_pod() {
        return;
    }
    for _ in 0..2 {
        let (code, said) = init(&[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("IPv4 tried, IPv6 tried"), "{said}");
    }
    let v4 = TcpListener::bind("127.0.0.1:15001").unwrap();
    let v6 = TcpListener::bind("[::1]:15001").unwrap();
    for (listener, ip) in [(v4, ELSEWHERE[0]), (v6, ELSEWHERE[1])] {
        let program = python(ip, 80);
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(meant(&accepted), SocketAddr::new(ip.parse().unwrap(), 80));
        accepted.write_all(b"from the proxy").unwrap();
        drop(accepted);
        assert_eq!(program.join().unwrap(), "from the proxy");
    }
    let (code, said) = init(&[]);
    assert_eq!(code, Some(0), "{said}");
}

fn skipped() {
    if !in_a_pod() {
        return;
    }
    let (code, said) = init(&["--skip-outbound-ports", "25,443-445", "--skip-outbound-subnets", "198.51.100.0/24"]);
    assert_eq!(code, Some(0), "{said}");
    let _proxy = TcpListener::bind("127.0.0.1:15001").unwrap();
    for (to, is_redirected) in
        [("203.0.113.1:80", true), ("203.0.113.1:444", false), ("198.51.100.7:80", false), ("203.0.113.1:446", true)]
    {
        // Nobody answers elsewhere.
        let wait = if is_redirected { PATIENCE } else { Duration::from_millis(200) };
        let connected = TcpStream::connect_timeout(&to.parse().unwrap(), wait);
        assert_eq!(connected.is_ok(), is_redirected, "{to}: {connected:?}");
    }
    let own = TcpListener::bind("10.77.0.2:8080").unwrap();
    TcpStream::connect("10.77.0.2:8080").unwrap();
    assert_eq!(own.accept().unwrap().1.ip(), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), "its own address is its own");
    let (code, _) = init(&[]);
    assert_eq!(code, Some(0));
    let now = TcpStream::connect_timeout(&"198.51.100.7:80".parse().unwrap(), PATIENCE);
    assert!(now.is_ok(), "the rules from before are gone: {now:?}");
}

fn needs() {
    if !in_a_pod() {
        return;
    }
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-net_admin").arg(env!("CARGO_BIN_EXE_weft-init")).args(WANTED);
    let (code, said) = told(command.output().unwrap());
    let expected =
        "weft-init: needs the capability NET_ADMIN to redirect connections; allow it to the container weft-init\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
}

fn misunderstands() {
    let (code, said) = init(&["--skip-inbound-ports", "http"]);
    let expected = "weft-init: --skip-inbound-ports: expected ports such as 80,90-95, found `http`\n";
    assert_eq!((code, said.as_str()), (Some(2), expected));
}

/// A namespace with routes to everywhere, though nobody is there.
fn in_a_pod() -> bool {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a pod's rules are made by root");
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let lines = "set -e\nip link set lo up\nip link add eth0 type veth peer name other\n\
                 ip addr add 10.77.0.2/24 dev eth0\nip addr add fd77:77::2/64 dev eth0 nodad\n\
                 ip link set eth0 up\nip link set other up\n\
                 ip route add default via 10.77.0.1\nip -6 route add default via fd77:77::1\n";
    let (code, said) = told(Command::new("/bin/sh").args(["-c", lines]).output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    true
}

fn init(more: &[&str]) -> (Option<i32>, String) {
    told(Command::new(env!("CARGO_BIN_EXE_weft-init")).args(WANTED).args(more).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// An unmodified program that connects and prints what it hears.
fn python(ip: &str, port: u16) -> std::thread::JoinHandle<String> {
    let code =
        format!("import socket\ns=socket.create_connection(('{ip}',{port}),30)\nprint(s.recv(100).decode(),end='')");
    std::thread::spawn(move || told(Command::new(PYTHON).args(["-c", &code]).output().unwrap()).1)
}

fn meant(accepted: &TcpStream) -> SocketAddr {
    let fd = accepted.as_fd();
    match getsockopt(&fd, sockopt::OriginalDst) {
        Ok(found) if accepted.local_addr().unwrap().is_ipv4() => {
            SocketAddr::new(IpAddr::V4(u32::from_be(found.sin_addr.s_addr).into()), u16::from_be(found.sin_port))
        }
        _ => {
            let found = getsockopt(&fd, sockopt::Ip6tOriginalDst).unwrap();
            SocketAddr::new(found.sin6_addr.s6_addr.into(), u16::from_be(found.sin6_port))
        }
    }
}
