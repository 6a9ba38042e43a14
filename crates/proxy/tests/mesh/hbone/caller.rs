//! Our proxy calls, the peer answers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use weft_hbone_peer::server::Rules;
use weft_identity::MeshTls;
use weft_mesh::record::{AppProtocol, Destination, ServicePort};
use weft_proxy::limits::{HBONE_CLIENT_HEADER_BYTES, HBONE_IDLE, HBONE_PING_INTERVAL, SWEEP};
use weft_proxy::records::Update;

use super::hostile::{END_HEADERS, Frame, GOAWAY, HEADERS, Raw, SETTINGS, frame};
use super::peer::{Told, serve};
use crate::harness::*;
use crate::http::read_to_end;

/// The peer serves `api`'s address and dials loopback for it.
pub(super) fn rules() -> Rules {
    Rules { destinations: vec![CALLEE], dial: Some(Ipv4Addr::LOCALHOST.into()), ..Rules::default() }
}

/// The proxy of `web`, which calls `api` at `port`; the peer is `api`.
pub(super) fn calling(port: u16, tunnel: fn(SocketAddr) -> Tunnel, rules: Rules) -> (Proxy, Told) {
    let mesh = Mesh::new();
    let (address, told) = serve(&mesh, "api", rules);
    mesh.registry.put(service("api", &[(CALLEE, tunnel(address))]));
    (mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port)), told)
}

/// `api` behind `peer`, whose port 80 is TCP by declaration: who calls it is connected at once.
fn declared(peer: SocketAddr) -> Destination {
    let ports = vec![ServicePort { port: 80, target: 80, protocol: AppProtocol::Tcp }];
    Destination { ports, ..service("api", &[(CALLEE, Tunnel::Hbone(peer))]) }
}

#[test]
fn bytes_and_half_closes_pass_both_ways() {
    // Whether the record says so, or only ALPN.
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let (listener, port) = program();
        let (web, told) = calling(port, tunnel, rules());
        for caller_ends_first in [true, false] {
            let mut caller = web.connect();
            let mut callee = accept(&listener);
            let (first, second) =
                if caller_ends_first { (&mut caller, &mut callee) } else { (&mut callee, &mut caller) };
            first.write_all(b"ping").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(second), b"ping");
            second.write_all(b"still open").unwrap();
            second.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(first), b"still open");
        }
        let seen = told.next("connection");
        assert_eq!((&seen["spiffe"], seen["violations"].as_array().unwrap().len()), (&id("web").as_str().into(), 0));
        for bytes in [4, 10] {
            let stream = told.next("stream");
            assert_eq!((&stream["status"], &stream["bytes_from_peer"]), (&200.into(), &bytes.into()));
            assert!(stream["why"].is_null(), "{stream}");
        }
        web.wait_metric("weft_client_handshakes_total 1");
        let line = web.log.wait(|line| line["bytes_sent"] == 10);
        assert_eq!((&line["flag"], &line["destination_workload"]), (&"-".into(), &"api".into()));
    }
}

#[test]
fn a_stream_says_who_calls() {
    let (listener, port) = program();
    let (web, told) = calling(port, Tunnel::Hbone, rules());
    let caller = web.connect();
    let own = caller.local_addr().unwrap();
    drop((caller, accept(&listener)));
    let stream = told.next("stream");
    assert_eq!(stream["authority"], format!("{CALLEE}:{port}"));
    assert_eq!(stream["forwarded"], format!("for=\"{own}\";host=api.default.svc.cluster.local"));
    assert_eq!(stream["baggage"], "k8s.namespace.name=default,k8s.pod.name=web,service.name=web");
    assert!(stream["traceparent"].as_str().unwrap().starts_with("00-"), "{stream}");
    assert_eq!(stream["violations"], serde_json::json!([]));
}

#[test]
fn resets_are_passed_on_both_ways() {
    let (listener, port) = program();
    let (web, told) = calling(port, Tunnel::Hbone, rules());
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    // Open at both ends: a caller that goes before that had nothing to reset.
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    reset(caller);
    assert!(is_reset(&mut callee));
    assert!(told.next("stream")["why"].as_str().unwrap().contains("reset by peer"));
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    reset(callee);
    assert!(is_reset(&mut caller));
    web.log.wait(|line| line["why"] == "reset" && line["hop"] == "callee");
}

#[test]
fn refusals_are_told_by_their_cause() {
    let friend = Rules { allow: vec![id("friend").to_string()], ..rules() };
    let elsewhere = Rules { destinations: vec![IpAddr::from([240, 240, 9, 9])], ..rules() };
    let (_nobody, dead) = nobody();
    for (rules, port, why, flag) in [
        (friend, 1, "policy", "DENY"),
        (elsewhere, 1, "unknown-address", "NR"),
        (rules(), dead.port(), "connect", "UF"),
    ] {
        let (web, _told) = calling(port, Tunnel::Hbone, rules);
        assert!(is_reset(&mut web.connect()));
        let line = web.log.wait(|line| line["why"] == why);
        assert_eq!((&line["flag"], &line["hop"]), (&flag.into(), &"callee's proxy".into()));
    }
}

#[test]
fn a_server_that_is_somebody_else_is_refused() {
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let mesh = Mesh::new();
        let (address, told) = serve(&mesh, "impostor", rules());
        mesh.registry.put(service("api", &[(CALLEE, tunnel(address))]));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
        assert!(is_reset(&mut web.connect()));
        let line = web.log.wait(|line| line["why"] == "identity");
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains("sa/api") && detail.contains("sa/impostor"), "{detail}");
        told.next("refused");
    }
}

#[test]
fn a_server_that_doesn_t_know_us_is_told_as_that() {
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let (mesh, other) = (Mesh::new(), Mesh::new());
        let (address, told) = serve(&mesh, "api", rules());
        mesh.registry.put(service("api", &[(CALLEE, tunnel(address))]));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
        web.tell(Update::Credential(Arc::new(other.credential("web"))));
        assert!(is_reset(&mut web.connect()));
        web.log.wait(|line| line["why"] == "identity");
        told.next("refused");
    }
}

#[test]
fn a_connection_is_dialled_once_for_all_who_wait_and_again_when_it_is_full() {
    let (listener, port) = program();
    let (web, told) = calling(port, Tunnel::Hbone, rules());
    let callers: Vec<TcpStream> = (0..150).map(|_| web.connect()).collect();
    let callees: Vec<TcpStream> = callers.iter().map(|_| accept(&listener)).collect();
    web.wait_metric("weft_client_handshakes_total 2");
    assert_eq!(told.count("connection"), 2);
    drop((callers, callees));
}

#[test]
fn a_failure_to_dial_is_shared_and_not_repeated_for_each() {
    let mesh = Mesh::new();
    // It accepts, and never says anything of TLS.
    let (mute, _) = program();
    // All wait for the dialling and none for what is spoken.
    mesh.registry.put(declared(mute.local_addr().unwrap()));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    let mut callers: Vec<TcpStream> = (0..20).map(|_| web.connect()).collect();
    web.wait_metric("weft_outbound_connections 20");
    drop(accept(&mute));
    mute.set_nonblocking(true).unwrap();
    drop(mute);
    for caller in &mut callers {
        assert!(is_reset(caller));
    }
    web.wait_metric("weft_failed_handshakes_total 1\n");
}

#[test]
fn a_new_certificate_gets_a_connection_of_its_own() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let (address, told) = serve(&mesh, "api", rules());
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Hbone(address))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    web.tell(Update::Credential(Arc::new(mesh.credential("web"))));
    // The update may be taken after the first of them, but not after the last.
    drop((0..3).map(|_| (web.connect(), accept(&listener))).collect::<Vec<_>>());
    web.wait_metric("weft_client_handshakes_total 2");
    caller.write_all(b"old").unwrap();
    callee.read_exact(&mut [0; 3]).unwrap();
    drop((caller, callee));
    // Its stream was the last on the old connection, which nobody needs any more.
    assert!(told.next("connection-closed")["why"].is_null());
}

#[test]
fn what_was_said_last_arrives_although_the_proxy_ends() {
    let (listener, port) = program();
    let (mut web, _told) = calling(port, Tunnel::Hbone, rules());
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    callee.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut caller), b"");
    web.begin_stop();
    let last = vec![9; 1 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            caller.write_all(&last).unwrap();
            caller.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_to_end(&mut callee) == last);
    });
    web.join();
}

#[test]
fn two_of_our_own_speak_it_too() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Hbone(api.mesh))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    caller.write_all(b"ping").unwrap();
    callee.read_exact(&mut [0; 4]).unwrap();
    api.wait_metric("weft_server_handshakes_total 1");
}

const DATA: u8 = 0;
const PING: u8 = 6;
/// Of DATA, SETTINGS and PING: the last of its stream, or an answer.
const LAST: u8 = 1;

/// A callee that is `api` for one connection, and answers each frame by `answer`. Returns where it is, and tells
/// the kind of each frame that it has answered.
fn by_hand(mesh: &Mesh, answer: fn(Frame) -> Option<Vec<u8>>) -> (SocketAddr, Receiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let tls = MeshTls::new(Arc::new(mesh.credential("api")), &mesh.trust()).unwrap();
    let config = tls.server_config(&[b"h2"]);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let socket = accept(&listener);
        // What it says has arrived before it tells.
        socket.set_nodelay(true).unwrap();
        let mut raw = Raw(StreamOwned::new(ServerConnection::new(config).unwrap(), socket));
        // What every client begins with (RFC 9113, section 3.4).
        raw.0.read_exact(&mut [0; 24]).unwrap();
        raw.0.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        while let Some(heard) = raw.next() {
            let kind = heard.0;
            let Some(said) = answer(heard) else { continue };
            // The test may be over, and the connection too: reading tells that.
            let _gone = (raw.0.write_all(&said), tell.send(kind));
        }
    });
    (at, told)
}

/// Lets every stream be, until its caller has said all.
fn politely((kind, stream, payload): Frame) -> Option<Vec<u8>> {
    match kind {
        // 200, in the static table of RFC 7541.
        HEADERS => Some(frame(HEADERS, END_HEADERS, stream, &[0x88])),
        DATA => Some(frame(DATA, LAST, stream, &[])),
        PING => Some(frame(PING, LAST, 0, &payload)),
        GOAWAY => Some(Vec::new()),
        SETTINGS if !payload.is_empty() => Some(frame(SETTINGS, LAST, 0, &[])),
        _ => None,
    }
}

#[test]
fn a_connection_that_has_no_streams_for_long_is_closed() {
    let mesh = Mesh::new();
    let (at, told) = by_hand(&mesh, politely);
    mesh.registry.put(declared(at));
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, 80));
    let mut caller = web.connect();
    while told.recv().unwrap() != HEADERS {}
    let pass = || {
        // The proxy's loop has come round, so that it has read what it was answered.
        web.page("/live");
        clock.advance(HBONE_PING_INTERVAL);
    };
    // What is heard when a silent interval has passed: whether somebody is there, or the end.
    let next = || {
        pass();
        told.iter().find(|kind| [PING, GOAWAY].contains(kind))
    };
    let intervals = |wait: Duration| wait.as_secs() / HBONE_PING_INTERVAL.as_secs();
    pass();
    for _ in 0..2 * intervals(HBONE_IDLE) {
        assert_eq!(next(), Some(PING), "a stream is open");
    }
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut caller), b"");
    pass();
    for passed in 1..intervals(HBONE_IDLE) {
        assert_eq!(next(), Some(PING), "after {passed} intervals");
    }
    let later = (0..=intervals(2 * SWEEP)).map(|_| next()).find(|heard| *heard != Some(PING));
    assert_eq!(later, Some(Some(GOAWAY)), "it is closed, and says so");
}

/// Opens every stream, with a head that is too large: fields of 1,000 bytes, each of which counts for 32 more
/// (RFC 9113, section 10.5.1).
fn wordily((kind, stream, payload): Frame) -> Option<Vec<u8>> {
    if kind != HEADERS {
        return politely((kind, stream, payload));
    }
    let field = [&[0x00, 1, b'a', 0x7f, 0xe9, 0x06], &[b'x'; 1000][..]].concat();
    let head = [&[0x88][..], &field.repeat(HBONE_CLIENT_HEADER_BYTES as usize / 1000 + 1)].concat();
    Some(frame(HEADERS, END_HEADERS, stream, &head))
}

#[test]
fn an_answer_whose_head_is_too_large_is_refused() {
    let mesh = Mesh::new();
    let (at, told) = by_hand(&mesh, wordily);
    mesh.registry.put(declared(at));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    assert!(is_reset(&mut web.connect()));
    assert!(told.iter().any(|kind| kind == HEADERS));
    let line = web.log.wait(|line| line["why"].is_string());
    assert_eq!(line["why"], "connect", "{line}");
}
