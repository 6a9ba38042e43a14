//! The peer calls, our proxy answers.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use weft_hbone_peer::client::{Head, Tunnel};
use weft_hbone_peer::server::pipe_tcp;
use weft_mesh::record::{Action, Condition, Inbound, Matches, Pattern, Policy, Rule};
use weft_proxy::records::Update;

use super::peer::{PEERS, Told, connect, to};
use crate::harness::*;
use crate::http::{read_to_end, whole_both_ways};
use crate::http1_policy::policy;
use crate::policy::{allow_only, api, nobody_called};

/// A proxy of `api` with these policies, and a connection of the peer to it, as `web`.
pub(super) fn called(policies: Vec<Policy>) -> (Proxy, Tunnel, Told) {
    called_as(inbound("api", CALLEE, policies))
}

/// The same with this record.
pub(super) fn called_as(record: Inbound) -> (Proxy, Tunnel, Told) {
    let mesh = Mesh::new();
    let proxy = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    proxy.tell(Update::Inbound(Box::new(record)));
    let (tunnel, told) = connect(&mesh, "web", proxy.mesh, "api").unwrap();
    (proxy, tunnel, told)
}

pub(super) fn status(tunnel: &Tunnel, head: &Head) -> u16 {
    PEERS.block_on(tunnel.open(head)).unwrap().status.as_u16()
}

/// A program's socket whose bytes go through a stream of `tunnel` to `port`.
pub(super) fn through(tunnel: &Tunnel, port: u16) -> TcpStream {
    let opened = PEERS.block_on(tunnel.open(&to(SocketAddr::new(CALLEE, port)))).unwrap();
    assert_eq!((opened.status.as_u16(), opened.violations.len()), (200, 0));
    let (listener, near) = program();
    let caller = TcpStream::connect(("127.0.0.1", near)).unwrap();
    let inner = accept(&listener);
    inner.set_nonblocking(true).unwrap();
    let tunnel = tunnel.clone();
    PEERS.spawn(async move {
        let mut opened = opened;
        let halves = opened.halves.take().unwrap();
        pipe_tcp(tokio::net::TcpStream::from_std(inner).unwrap(), halves).await;
        drop((opened, tunnel));
    });
    patient(caller)
}

#[test]
fn bytes_and_half_closes_pass_both_ways() {
    let (listener, port) = program();
    let (api, tunnel, told) = called(vec![allow_only("web")]);
    for caller_ends_first in [true, false] {
        let mut caller = through(&tunnel, port);
        let mut callee = accept(&listener);
        let (first, second) = if caller_ends_first { (&mut caller, &mut callee) } else { (&mut callee, &mut caller) };
        first.write_all(b"ping").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(second), b"ping");
        second.write_all(b"still open").unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(first), b"still open");
    }
    let line = api.log.wait(|line| line["bytes_sent"] == 10);
    assert_eq!((&line["verdict"], &line["flag"]), (&"allow".into(), &"-".into()));
    assert_eq!(line["source_principal"], "spiffe://cluster.local/ns/default/sa/web");
    let seen = told.next("connection");
    assert_eq!((&seen["tls"]["version"], &seen["tls"]["alpn"]), (&"TLSv1_3".into(), &"h2".into()));
}

#[test]
fn a_server_name_stays_unseen_and_closes() {
    for action in [Action::Allow, Action::Deny] {
        let names = Matches { any: vec![Pattern::Exact("a.example".to_owned())], not: Vec::new() };
        let rule = Rule { when: vec![Condition::Sni(names)], ..Rule::default() };
        let (_api, tunnel, _told) = called(vec![policy(action, rule)]);
        assert_eq!(status(&tunnel, &to(SocketAddr::new(CALLEE, 1))), 401, "{action:?}");
    }
}

#[test]
fn resets_are_passed_on_both_ways() {
    let (listener, port) = program();
    let (api, tunnel, _told) = called(Vec::new());
    let (caller, mut callee) = (through(&tunnel, port), accept(&listener));
    reset(caller);
    assert!(is_reset(&mut callee));
    let (mut caller, mut callee) = (through(&tunnel, port), accept(&listener));
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    reset(callee);
    assert!(is_reset(&mut caller));
    api.log.wait(|line| line["why"] == "reset" && line["hop"] == "callee");
    // A caller that has ended its half, and is reset while nothing is said.
    let (caller, mut callee) = (through(&tunnel, port), accept(&listener));
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut callee), b"");
    drop(tunnel);
    reset(caller);
    // It has read the end of the caller's half, so that only writing shows it.
    let error = loop {
        if let Err(error) = callee.write_all(b"anybody?") {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn refusals_have_ztunnel_s_statuses() {
    let (listener, port) = program();
    let (api, tunnel, _told) = called(vec![allow_only("checkout")]);
    assert_eq!(status(&tunnel, &to(SocketAddr::new(CALLEE, port))), 401);
    assert!(nobody_called(&listener));
    let line = api.log.wait(|line| line["verdict"] == "deny");
    assert_eq!((&line["why"], &line["source_workload"]), (&"policy".into(), &"web".into()));
    api.wait_metric("weft_denied_total 1");
    for elsewhere in [format!("{CALLER}:{port}"), format!("{CALLEE}:0")] {
        assert_eq!(status(&tunnel, &to(elsewhere)), 400);
    }
    let mut head = to(SocketAddr::new(CALLEE, port));
    head.fields.push(("content-length".into(), "0".into()));
    assert_eq!(status(&tunnel, &head), 400);
    let (api, tunnel, _told) = called(vec![allow_only("web")]);
    let (_nobody, address) = nobody();
    assert_eq!(status(&tunnel, &to(SocketAddr::new(CALLEE, address.port()))), 503);
    api.log.wait(|line| line["why"] == "connect");
}

#[test]
fn a_change_of_policy_resets_what_it_forbids() {
    let (listener, port) = program();
    let (proxy, tunnel, _told) = called(vec![allow_only("web")]);
    let (mut caller, mut callee) = (through(&tunnel, port), accept(&listener));
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    proxy.tell(api(vec![allow_only("checkout")]));
    assert!(is_reset(&mut caller));
    assert!(is_reset(&mut callee));
    proxy.log.wait(|line| line["why"] == "policy-changed");
}

#[test]
fn streams_of_one_connection_don_t_mix() {
    let (listener, port) = program();
    let (api, tunnel, _told) = called(Vec::new());
    // As many as the peer puts on one connection.
    let mut pairs: Vec<_> = (0..100).map(|_| (through(&tunnel, port), accept(&listener))).collect();
    for (n, (caller, callee)) in pairs.iter_mut().enumerate() {
        caller.write_all(&[n as u8; 1000]).unwrap();
        callee.write_all(&[255 - n as u8; 1000]).unwrap();
    }
    for (n, (caller, callee)) in pairs.iter_mut().enumerate().rev() {
        let (mut there, mut back) = ([0; 1000], [0; 1000]);
        callee.read_exact(&mut there).unwrap();
        caller.read_exact(&mut back).unwrap();
        assert_eq!((there, back), ([n as u8; 1000], [255 - n as u8; 1000]));
    }
    api.wait_metric("weft_server_handshakes_total 1");
}

#[test]
fn more_than_all_windows_passes_both_ways_at_once() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called(Vec::new());
    let (caller, callee) = (through(&tunnel, port), accept(&listener));
    whole_both_ways(&caller, &callee, 64 << 20);
}

#[test]
fn a_slow_program_slows_the_caller() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called(Vec::new());
    let (mut caller, callee) = (through(&tunnel, port), accept(&listener));
    caller.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    // What fits into windows and sockets' buffers is some 30 MiB at most.
    while sent < 256 << 20 {
        match caller.write(&[7; 64 << 10]) {
            Ok(length) => sent += length,
            Err(_full) => break,
        }
    }
    assert!(sent < 128 << 20, "{sent} bytes were taken and not read");
    drop(callee);
}

#[test]
fn identities_are_proved_both_ways() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let proxy = mesh.proxy("api", CALLEE, SocketAddr::new(IpAddr::from([240, 240, 0, 2]), 1));
    let why = connect(&mesh, "web", proxy.mesh, "somebody").err().unwrap();
    assert!(why.contains("sa/somebody") && why.contains("sa/api"), "{why}");
    // It trusts nobody of the mesh, and the mesh doesn't trust it.
    assert!(connect(&other, "web", proxy.mesh, "api").is_err());
    proxy.wait_metric("weft_failed_handshakes_total");
    assert!(proxy.page("/metrics").contains("weft_inbound_connections 0"));
}

#[test]
fn a_drain_lets_go_on_what_is_open_and_takes_no_more() {
    let (listener, port) = program();
    let (mut api, tunnel, told) = called(Vec::new());
    let (mut caller, mut callee) = (through(&tunnel, port), accept(&listener));
    api.begin_stop();
    let refused = loop {
        if let Err(why) = PEERS.block_on(tunnel.open(&to(SocketAddr::new(CALLEE, port)))) {
            break why;
        }
    };
    // That is GOAWAY with NO_ERROR in h2's words.
    assert!(refused.contains("not a result of an error"), "{refused}");
    caller.write_all(b"still").unwrap();
    callee.read_exact(&mut [0; 5]).unwrap();
    callee.write_all(b"here").unwrap();
    caller.read_exact(&mut [0; 4]).unwrap();
    drop((caller, callee));
    api.join();
    told.next("connection-closed");
}
