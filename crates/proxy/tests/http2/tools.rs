//! HTTP/2 and gRPC through a pair, as programs see it that aren't written here: curl, nghttp,
//! h2load and gRPC's own library. Each is left out, loudly, where it isn't installed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use weft_mesh::record::Destination;

use crate::clock::Clock;
use crate::harness::*;
use crate::programs::*;
use crate::skipped::skipped;

/// The output of a program that succeeds, or `None` where there is no such program.
fn output(command: &mut Command) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Ok(Output { status, stdout, stderr }) = command.output() else {
        skipped(&format!("{name} isn't installed"));
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name}: {status}\n{text}");
    Some(text)
}

/// A pair whose port is declared as nothing: the preface tells. The caller's proxy has all the time for it: a server of
/// HTTP/2 that were dialled for a slow client would speak first, and nobody look into what follows.
fn undeclared_pair(port: u16) -> (Proxy, Proxy, Clock) {
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(Destination { ports: Vec::new(), ..http2_service(&[(CALLEE, Tunnel::Mesh(api.mesh))], port) });
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, port));
    (web, api, clock)
}

#[test]
fn curl_posts_by_prior_knowledge() {
    let program = Program::start(echo());
    let (web, _api, _clock) = undeclared_pair(program.port);
    let url = format!("http://{}/a/../b", web.outbound);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--path-as-is", "--http2-prior-knowledge", "--max-time", "60", "-i", "-d", "hello", &url]);
    let Some(text) = output(&mut curl) else { return };
    assert!(text.starts_with("HTTP/2 200"), "{text}");
    assert!(text.contains(&format!("seen: http://{}/b\r\n", web.outbound)), "{text}");
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
}

#[test]
fn nghttp_sees_trailers_and_many_streams() {
    let program = Program::start(echo());
    let (web, _api, _clock) = undeclared_pair(program.port);
    let url = format!("http://{}/", web.outbound);
    let data = std::env::temp_dir().join(format!("weft-nghttp-{}", std::process::id()));
    std::fs::write(&data, vec![b'x'; 100_000]).unwrap();
    let mut nghttp = Command::new("nghttp");
    nghttp.args(["-nv", "-m", "20", "-t", "20", "--trailer", "checksum: 7", "-d"]).args([data.as_os_str()]).arg(url);
    let text = output(&mut nghttp);
    std::fs::remove_file(&data).unwrap();
    let Some(text) = text else { return };
    let received =
        text.lines().filter(|line| line.contains("recv (stream_id=") && line.contains("checksum: 7")).count();
    assert_eq!(received, 20, "{text}");
}

#[test]
fn h2load_fails_at_nothing() {
    let program = Program::start(echo());
    let (web, api, _clock) = undeclared_pair(program.port);
    let mut h2load = Command::new("h2load");
    h2load.args(["-n", "2000", "-c", "10", "-m", "50", &format!("http://{}/", web.outbound)]);
    let Some(text) = output(&mut h2load) else { return };
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    let counted = "response_code=\"200\",grpc_response_status=\"\"} 2000\n";
    for proxy in [&web, &api] {
        proxy.wait_metric(counted);
    }
}

/// gRPC's Python library in an environment of its own, kept between runs; `None` where it can't be had.
fn grpc_python() -> Option<PathBuf> {
    let folder = std::env::temp_dir().join("weft-test-grpcio");
    let python = folder.join("bin/python");
    let has_it = || Command::new(&python).args(["-c", "import grpc"]).output().is_ok_and(|out| out.status.success());
    if !has_it() {
        let _made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
        let pip = folder.join("bin/pip");
        let _installed = Command::new(pip).args(["install", "--quiet", "--only-binary", ":all:", "grpcio"]).output();
    }
    if has_it() {
        return Some(python);
    }
    skipped("grpcio isn't installed and can't be");
    None
}

/// A Python program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

const SERVER: &str = include_str!("grpc_server.py");
const CLIENT: &str = include_str!("grpc_client.py");

#[test]
fn grpc_works_as_without_a_mesh() {
    let Some(python) = grpc_python() else { return };
    let mut server = Command::new(&python);
    server.args(["-c", SERVER]).stdout(Stdio::piped());
    let mut server = Running(server.spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port = port.trim().parse().unwrap();
    let mut direct = Command::new(&python);
    direct.args(["-c", CLIENT, &format!("127.0.0.1:{port}")]);
    let expected = output(&mut direct).unwrap();
    let (web, api, _clock) = undeclared_pair(port);
    let mut meshed = Command::new(&python);
    meshed.args(["-c", CLIENT, &web.outbound.to_string()]);
    assert_eq!(output(&mut meshed).unwrap(), expected);
    let counted = "response_code=\"200\",grpc_response_status=\"5\"} 1\n";
    api.wait_metric(counted);
    assert!(api.page("/metrics").contains("request_protocol=\"grpc\""));
}
