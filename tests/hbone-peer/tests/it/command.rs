//! The program itself: its streams and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use weft_hbone_peer::tls::Files;

use crate::certificates::{Authority, CLIENT, SERVER};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hbone-peer");

/// Ends the server with the test.
struct Serving {
    child: Child,
    address: String,
    events: BufReader<std::process::ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Serving {
    fn start(files: &Files, options: &[&str]) -> Self {
        let mut child =
            command("serve", files).args(options).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Self { child, address: String::new(), events };
        serving.address = serving.event("listening")["address"].as_str().unwrap().to_owned();
        serving
    }

    fn event(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.events.read_line(&mut line).unwrap(), 0, "the server ended");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

fn command(verb: &str, files: &Files) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(verb).arg("--cert").arg(&files.cert).arg("--key").arg(&files.key).arg("--ca").arg(&files.ca);
    command
}

fn connect(files: &Files, serving: &Serving, destination: &str, stdin: &[u8]) -> Output {
    let mut child = command("connect", files)
        .args(["--expect", SERVER, "--baggage", "service.name=test", &serving.address, destination])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that was refused reads no stdin.
    let _refused = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// A program that answers once its caller has finished.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = b"heard: ".to_vec();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    address
}

#[test]
fn stdin_and_stdout_are_the_tunnel() {
    let authority = Authority::new("command-pipe");
    let mut serving = Serving::start(&authority.leaf("server", &[SERVER]), &[]);
    let destination = echo();
    let done = connect(&authority.leaf("client", &[CLIENT]), &serving, &destination, b"hello");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(done.stdout, b"heard: hello");
    let lines: Vec<Value> = done.stderr.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "status" && line["status"] == 200), "{lines:?}");
    let stream = serving.event("stream");
    assert_eq!((&stream["authority"], &stream["baggage"]), (&destination.into(), &"service.name=test".into()));
}

#[test]
fn a_refusal_is_exit_3_and_its_status_is_told() {
    let authority = Authority::new("command-refused");
    let options = ["--allow", "spiffe://cluster.local/ns/default/sa/friend"];
    let serving = Serving::start(&authority.leaf("server", &[SERVER]), &options);
    let done = connect(&authority.leaf("client", &[CLIENT]), &serving, &echo(), b"hello");
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(3), b"".as_slice()));
    assert!(String::from_utf8_lossy(&done.stderr).contains("\"status\":401"), "{done:?}");
}

#[test]
fn a_server_of_another_identity_is_exit_2() {
    let authority = Authority::new("command-identity");
    let serving = Serving::start(&authority.leaf("server", &["spiffe://cluster.local/ns/default/sa/other"]), &[]);
    let done = connect(&authority.leaf("client", &[CLIENT]), &serving, "127.0.0.1:1", b"");
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("expected a server"));
}

#[test]
fn a_wrong_command_line_is_exit_1() {
    let done = Command::new(PROGRAM).arg("listen").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
}
