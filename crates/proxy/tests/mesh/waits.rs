//! Waits: whoever stalls is ended when the time has come, and not before. Sockets are real; the clock of the
//! proxy that waits goes on when the test says so.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use simple_dns::{CLASS, Name, Packet, Question, TYPE};
use weft_identity::MeshTls;
use weft_proxy::limits::*;
use weft_wire::head;

use crate::clock::Clock;
use crate::dns::ask_at;
use crate::flood::{is_open, lane, mallory};
use crate::harness::*;
use crate::http::read_to_end;

/// Whether the peer has ended the connection; what it says is passed over.
fn has_ended(tls: &mut StreamOwned<ClientConnection, TcpStream>) -> bool {
    tls.sock.set_nonblocking(true).unwrap();
    loop {
        match tls.read(&mut [0; 64]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A listener that accepts nothing more: its queue has its one connection, which is returned.
fn full() -> (SocketAddr, socket2::Socket, TcpStream) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let first = TcpStream::connect(at).unwrap();
    (at, listener, first)
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

/// The next connection to `listener`, for which the proxy waits first whether its program speaks.
fn accept_by(clock: &Clock, listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    clock.until(DETECTION_GRACE, || {
        accepted = accepted.take().or_else(|| listener.accept().ok());
        accepted.is_some()
    });
    patient(accepted.unwrap().0)
}

#[test]
fn a_handshake_that_is_not_ended_is_closed() {
    let (api, clock) = Mesh::new().held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let silent = TcpStream::connect(api.mesh).unwrap();
    let mut begun = TcpStream::connect(api.mesh).unwrap();
    begun.write_all(&[22, 3, 1, 2, 0]).unwrap();
    clock.ends(TLS_ACCEPT, || !is_open(&silent) && !is_open(&begun));
    api.wait_metric("weft_failed_handshakes_total 2");
}

#[test]
fn a_caller_that_says_nothing_more_is_closed() {
    let mesh = Mesh::new();
    let (api, clock) = mesh.held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let mut callers = [mallory(&mesh, &api), mallory(&mesh, &api)];
    for caller in &mut callers {
        caller.conn.complete_io(&mut caller.sock).unwrap();
    }
    callers[1].write_all(&lane()).unwrap();
    api.wait_metric("weft_server_handshakes_total 2");
    clock.ends(INBOUND_IDLE, || callers.iter_mut().all(has_ended));
}

#[test]
fn a_warm_connection_that_nobody_uses_is_closed() {
    let (listener, port) = program();
    let ((web, clock), _api) = Mesh::new().held_pair(port);
    let mut caller = web.connect();
    // What can't become HTTP isn't held.
    caller.write_all(b"\0ping").unwrap();
    accept_by(&clock, &listener).read_exact(&mut [0; 5]).unwrap();
    web.wait_metrics(|page| !page.contains("weft_spare_tunnels 0\n"));
    clock.ends(WARM_IDLE, || web.page("/metrics").contains("weft_spare_tunnels 0\n"));
}

#[test]
fn an_endpoint_that_does_not_shake_hands_is_given_up() {
    let mesh = Mesh::new();
    let stalls = TcpListener::bind("127.0.0.1:0").unwrap();
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(stalls.local_addr().unwrap()))]));
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, 1));
    let caller = web.connect();
    let _accepted = accept_by(&clock, &stalls);
    clock.ends(TUNNEL_CONNECT, || !is_open(&caller));
    drop(clock);
    web.log.wait(|line| line["why"] == "tls");
}

#[test]
fn a_callee_that_does_not_answer_is_given_up() {
    let mesh = Mesh::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(listener.local_addr().unwrap()))]));
    let tls = MeshTls::new(Arc::new(mesh.credential("api")), &mesh.trust()).unwrap();
    let config = tls.server_config(&[head::ALPN]);
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, 1));
    let caller = web.connect();
    let mut callee = StreamOwned::new(ServerConnection::new(config).unwrap(), accept_by(&clock, &listener));
    // Its head has come, and nobody says anything to it.
    assert!(callee.read(&mut [0; 512]).unwrap() > 0);
    clock.ends(ANSWER_WAIT, || !is_open(&caller));
    drop(clock);
    web.log.wait(|line| line["why"].is_string());
}

#[test]
fn what_may_become_http_is_held_for_its_time_and_passes_then() {
    let (listener, port) = program();
    let ((web, clock), _api) = Mesh::new().held_pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET /what").unwrap();
    web.wait_metric("weft_outbound_connections 1");
    listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    clock.ends(DETECTION_HELD, || {
        accepted.extend(listener.accept().ok().map(|(socket, _)| socket));
        accepted.iter().any(|socket: &TcpStream| !is_open(socket))
    });
}

/// A caller that has read Weft's refusal of its head, and doesn't end.
fn refused(web: &Proxy) -> TcpStream {
    let mut caller = web.connect();
    caller.write_all(&[&b"GET / HTTP/1.1\r\nhost: "[..], &[b'x'; 4 << 10], b"\r\n\r\n"].concat()).unwrap();
    let answer = read_to_end(&mut caller);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    caller
}

/// Whether nobody resets the connection when more is said on it.
fn is_heard(web: &Proxy, caller: &mut TcpStream) -> bool {
    (0..100).all(|_| {
        // The proxy's loop has come round.
        web.page("/live");
        caller.write_all(b"more").is_ok()
    })
}

#[test]
fn a_caller_that_was_refused_and_does_not_end_is_cut_off() {
    let mesh = Mesh::new();
    mesh.registry.put(service("api", &[]));
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, 80));
    let mut caller = refused(&web);
    clock.advance(LINGER / 2);
    assert!(is_heard(&web, &mut caller), "before its time");
    clock.advance(LINGER / 2);
    assert!(!is_heard(&web, &mut caller));
    // Nor is a caller heard without end while no time passes.
    let mut endless = refused(&web);
    let more = vec![0; LINGER_BYTES];
    // Both kernels take some of it.
    assert!((0..64).any(|_| endless.write_all(&more).is_err()));
}

#[test]
fn a_program_that_accepts_nothing_is_given_up() {
    let (at, _listener, _first) = full();
    let mesh = Mesh::new();
    let (api, clock) = mesh.held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(api.mesh))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, at.port()));
    let caller = web.connect();
    api.wait_metrics(|page| !page.contains("weft_server_handshakes_total 0\n"));
    clock.ends(PROGRAM_CONNECT, || !is_open(&caller));
    drop(clock);
    api.log.wait(|line| line["why"] == "connect");
}

#[test]
fn somebody_outside_who_accepts_nothing_is_given_up() {
    let (at, _listener, _first) = full();
    let (web, clock) = Mesh::new().held("web", CALLER, at);
    let caller = web.connect();
    clock.ends(OUTSIDE_CONNECT, || !is_open(&caller));
}

#[test]
fn a_drain_ends_what_goes_on_too_long() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let (mut api, clock) = mesh.held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(api.mesh))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    caller.write_all(b"on and on").unwrap();
    callee.read_exact(&mut [0; 9]).unwrap();
    api.begin_stop();
    // Nobody new is let in: the drain has begun.
    eventually(|| TcpStream::connect(api.mesh).is_err());
    clock.advance(DRAIN_WAIT / 2);
    assert!(is_open(&caller) && is_open(&callee), "before its time");
    clock.advance(DRAIN_WAIT / 2);
    api.join();
    eventually(|| !is_open(&caller) && !is_open(&callee));
}

#[test]
fn a_connection_to_a_name_server_that_stalls_is_closed() {
    let (web, clock) = Mesh::new().held("web", CALLER, "10.0.0.53:53".parse().unwrap());
    let stalled: Vec<TcpStream> = [&b""[..], b"\0", b"\0\x1d", b"\0\x1dhalf a message"]
        .map(|said| {
            let mut socket = web.connect();
            socket.write_all(said).unwrap();
            socket
        })
        .into();
    clock.ends(DNS_CLIENT_IDLE, || stalled.iter().all(|socket| !is_open(socket)));
}

#[test]
fn a_name_that_nobody_tells_of_is_asked_of_the_host_in_time() {
    let (web, clock) = Mesh::new().held("web", CALLER, SocketAddr::new(SERVICE, 1));
    let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
    asking.connect(web.dns).unwrap();
    asking.send(&question(UNHEARD)).unwrap();
    web.wait_metric("weft_dns_questions_total 1");
    clock.ends(DNS_SHORT_NAME_WAIT, || is_told(&asking, UNHEARD));
}

#[test]
fn name_servers_that_say_nothing_keep_no_name_of_the_mesh_from_its_answer() {
    let mesh = Mesh::new();
    mesh.registry.put(service("api", &[]));
    let (web, clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, 1));
    let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
    asking.connect(web.dns).unwrap();
    let query = question(&format!("{SILENT}.example.com"));
    for asked in 1..=2 * DNS_QUESTIONS {
        asking.send(&query).unwrap();
        // The socket's own queue would lose what comes much faster.
        if asked % 64 == 0 {
            assert!(ask_at(web.dns, "api.default.svc", TYPE::A).len() > query.len());
        }
    }
    // When they were waited for, others are asked again.
    clock.ends(DNS_UPSTREAM, || is_told(&asking, "www.example.com"));
}

#[test]
fn a_client_of_the_admin_port_that_never_asks_is_left() {
    let (web, clock) = Mesh::new().held("web", CALLER, SocketAddr::new(SERVICE, 1));
    let silent = TcpStream::connect(web.admin).unwrap();
    let mut begun = TcpStream::connect(web.admin).unwrap();
    begun.write_all(b"GET /metrics HT").unwrap();
    clock.ends(ADMIN_WAIT, || !is_open(&silent) && !is_open(&begun));
}

/// Whether the host's name server has been heard on a name. It is asked again each time, as clients do.
fn is_told(asking: &UdpSocket, name: &str) -> bool {
    asking.send(&question(name)).unwrap();
    asking.set_nonblocking(true).unwrap();
    let mut answer = [0; 512];
    asking.recv(&mut answer).is_ok_and(|length| answer[..length].ends_with(b"upstream"))
}

fn question(name: &str) -> Vec<u8> {
    let mut query = Packet::new_query(7);
    query.questions.push(Question::new(Name::new_unchecked(name), TYPE::A.into(), CLASS::IN.into(), false));
    query.build_bytes_vec().unwrap()
}
