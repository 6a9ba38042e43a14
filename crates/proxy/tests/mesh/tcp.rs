//! Plain TCP through a pair, as the two programs see it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::harness::*;
use crate::http::{alone, anonymous_kib, read_to_end};

#[test]
fn bytes_and_half_closes_pass_both_ways() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    for caller_ends_first in [true, false] {
        let mut caller = web.connect();
        let mut callee = accept(&listener);
        let (first, second) = if caller_ends_first { (&mut caller, &mut callee) } else { (&mut callee, &mut caller) };
        first.write_all(b"ping").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(second), b"ping");
        second.write_all(b"still open").unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(first), b"still open");
    }
    let line = web.log.wait(|line| line["bytes_received"] == 4);
    assert_eq!(line["flag"], "-");
    assert_eq!(line["destination_workload"], "api");
    let line = api.log.wait(|line| line["bytes_sent"] == 10);
    assert_eq!(line["source_principal"], "spiffe://cluster.local/ns/default/sa/web");
    assert_eq!(line["verdict"], "allow");
    web.wait_metric("weft_warm_tunnels_total 1");
    assert!(web.page("/metrics").contains("istio_tcp_sent_bytes_total{source_workload=\"web\""));
}

#[test]
fn a_server_may_speak_first() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let server = thread::spawn(move || accept(&listener).write_all(b"220 hello").unwrap());
    assert_eq!(read_to_end(&mut web.connect()), b"220 hello");
    server.join().unwrap();
}

#[test]
fn resets_are_passed_on_both_ways() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let (caller, mut callee) = (web.connect(), accept(&listener));
    reset(caller);
    assert!(is_reset(&mut callee));
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    reset(callee);
    assert!(is_reset(&mut caller));
    web.log.wait(|line| line["why"] == "reset" && line["hop"] == "caller");
    web.log.wait(|line| line["why"] == "reset" && line["hop"] == "callee");
}

/// As a server of TLS does that leaves the client's last words unread.
#[test]
fn who_breaks_after_the_other_has_ended_has_not_failed() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    caller.write_all(b"x").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut callee), b"x");
    reset(callee);
    assert!(is_reset(&mut caller));
    for proxy in [web, api] {
        let line = proxy.log.wait(|line| line["why"] == "late-reset");
        assert_eq!((&line["flag"], &line["hop"]), (&"-".into(), &"callee".into()), "{line}");
    }
}

#[test]
fn a_large_transfer_arrives_whole_and_is_not_held() {
    alone("tcp::a_large_transfer_arrives_whole_and_is_not_held", a_large_transfer_arrives_whole_and_is_not_held_alone);
}

fn a_large_transfer_arrives_whole_and_is_not_held_alone() {
    const BYTES: usize = 100 << 20;
    let pattern = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let mut callee = accept(&listener);
    let before = anonymous_kib();
    let sender = thread::spawn(move || {
        let mut chunk = vec![0; 1 << 16];
        for start in (0..BYTES).step_by(chunk.len()) {
            chunk.iter_mut().enumerate().for_each(|(at, byte)| *byte = pattern(start + at));
            caller.write_all(&chunk).unwrap();
        }
        caller.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut caller)
    });
    let (mut at, mut chunk, mut most) = (0, vec![0; 1 << 16], before);
    loop {
        let length = callee.read(&mut chunk).unwrap();
        if length == 0 {
            break;
        }
        assert!(chunk[..length].iter().enumerate().all(|(n, byte)| *byte == pattern(at + n)), "after {at}");
        at += length;
        most = most.max(anonymous_kib());
    }
    assert_eq!(at, BYTES);
    callee.write_all(b"got it").unwrap();
    drop(callee);
    assert_eq!(sender.join().unwrap(), b"got it");
    assert!(most.saturating_sub(before) < 32 << 10, "{before} KiB before, {most} KiB at most");
}

#[test]
fn a_slow_reader_slows_the_sender() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let mut callee = accept(&listener);
    // What the kernel's buffers of three connections take, and no more.
    let sent = fill(&mut caller);
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut callee).len(), sent);
}

#[test]
fn a_warm_connection_that_died_is_replaced() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let wire = Wire::to(api.mesh);
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(wire.at))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    for round in 0..5 {
        let mut caller = web.connect();
        let mut called = accept(&listener);
        called.write_all(&[round]).unwrap();
        let mut got = [99];
        caller.read_exact(&mut got).unwrap();
        assert_eq!(got, [round]);
        web.wait_metrics(|page| !page.contains("weft_spare_tunnels 0"));
        wire.cut();
        // What was open is lost, as it must be.
        assert!(is_reset(&mut caller));
    }
}

#[test]
fn an_idle_connection_is_cheap() {
    alone("tcp::an_idle_connection_is_cheap", an_idle_connection_is_cheap_alone);
}

fn an_idle_connection_is_cheap_alone() {
    const CONNECTIONS: u64 = 200;
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let open = |count| -> Vec<(TcpStream, TcpStream)> {
        let one = |_| {
            let mut pair = (web.connect(), accept(&listener));
            pair.0.write_all(&[1; 999]).unwrap();
            pair.1.read_exact(&mut [0; 999]).unwrap();
            pair
        };
        (0..count).map(one).collect()
    };
    let first = open(8);
    let before = anonymous_kib();
    let more = open(CONNECTIONS);
    let each = anonymous_kib().saturating_sub(before) / CONNECTIONS;
    drop((first, more));
    // 16 when nothing else runs; one buffer for each direction would be more than the bound.
    assert!(each < 64, "{each} KiB for both proxies and both of the test's ends");
}

#[test]
fn an_endpoint_that_is_down_is_told() {
    let mesh = Mesh::new();
    let (_held, gone) = nobody();
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(gone))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    assert!(is_reset(&mut web.connect()));
    let line = web.log.wait(|line| line["why"] == "connect");
    assert_eq!(line["flag"], "UF");
    assert!(line["detail"].as_str().unwrap().contains(&gone.to_string()), "{line}");
}

#[test]
fn a_program_that_does_not_listen_is_told() {
    let (_held, at) = nobody();
    let (web, api) = Mesh::new().pair(at.port());
    assert!(is_reset(&mut web.connect()));
    let line = web.log.wait(|line| line["why"] == "connect");
    assert_eq!(line["hop"], "callee's proxy");
    api.log.wait(|line| line["why"] == "connect");
}

#[test]
fn addresses_of_the_mesh_never_leave_it() {
    let mesh = Mesh::new();
    let web = mesh.proxy("web", CALLER, "240.240.9.9:80".parse().unwrap());
    assert!(is_reset(&mut web.connect()));
    let line = web.log.wait(|line| line["why"] == "unknown-address");
    assert_eq!(line["flag"], "NR");
}

#[test]
fn the_outside_is_reached_plainly() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let web = mesh.proxy("web", CALLER, SocketAddr::new("127.0.0.1".parse().unwrap(), port));
    let mut caller = web.connect();
    let mut callee = accept(&listener);
    caller.write_all(b"plain").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut callee), b"plain");
    web.wait_metric("weft_passthrough_total 1");
}

#[test]
fn open_connections_outlive_the_beginning_of_the_end() {
    let (listener, port) = program();
    let (mut web, _api) = Mesh::new().pair(port);
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    drop(listener);
    web.begin_stop();
    // It no longer accepts: the listener is closed, and with it what waited in its queue.
    while TcpStream::connect(web.outbound).is_ok() {
        thread::yield_now();
    }
    caller.write_all(b"late").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut callee), b"late");
    drop(callee);
    assert_eq!(read_to_end(&mut caller), b"");
    web.join();
}
