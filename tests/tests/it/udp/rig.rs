//! What the tests of UDP share: a mesh with an outside, a server there, and what is counted and logged.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{Installation, User, can_run, skipped};

pub(super) const OUTSIDE: [&str; 2] = ["198.51.100.1", "2001:db8::1"];

/// A mesh in a network with an outside.
pub(super) fn mesh(user: User) -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    match Installation::new(user).unwrap().within(&["198.51.100.1/32", "2001:db8::1/128"]) {
        Ok(installation) => Some(Mesh::of(installation, &[], &[]).unwrap()),
        Err(error) => {
            skipped(&error.to_string());
            None
        }
    }
}

/// Sends back what it gets, at one port of each address; says which, and who asked.
pub(super) const ECHO: &str = "
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
pub(super) struct Server(Child);

impl Server {
    pub(super) fn start(mesh: &Mesh, code: &str, arguments: &[&str]) -> Self {
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

pub(super) fn python(mesh: &Mesh, flags: &[&str], code: &str, arguments: &[&str]) -> Output {
    let words = [&["caller"][..], flags, &["--", "python3", "-c", code], arguments].concat();
    mesh.run(&words).unwrap()
}

/// What a program writes that is told `code` in a workload.
pub(super) fn said(mesh: &Mesh, flags: &[&str], code: &str, arguments: &[&str]) -> String {
    let output = python(mesh, flags, code, arguments);
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What a workload's program has written.
pub(super) fn output_of(mesh: &Mesh, name: &str) -> String {
    std::fs::read_to_string(mesh.home().join(format!("{name}.out"))).unwrap()
}

/// Reads what is written somewhere until `wanted` accepts it.
pub(super) fn wait_for(read: impl Fn() -> String, wanted: impl Fn(&str) -> bool) -> String {
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
pub(super) fn metrics(mesh: &Mesh) -> String {
    let output = mesh.command("curl").args(["-sS", "-m", "30", "http://127.0.0.1:15014/metrics"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a counter that only one proxy can have.
pub(super) fn counter(page: &str, name: &str) -> u64 {
    let rows = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    rows.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Asks 127.0.0.1's port by each name; says who answered.
pub(super) const HOST: &str = "
import socket, sys
for ip in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30); s.connect((ip, 4000))
    try: s.send(b'hello'); print(s.recvfrom(100)[1][0])
    except OSError as error: print(error.strerror)
";
