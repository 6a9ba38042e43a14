//! Small exchanges of HTTP/1 share one connection between two proxies, and disturb each other in
//! nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use weft_proxy::limits::LANE_CALLER_STREAMS;

use crate::flood::may_open;
use crate::harness::*;
use crate::http::*;

const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Asks, and returns the connections of client and program.
fn ask(web: &Proxy, listener: &std::net::TcpListener, target: &str) -> (TcpStream, TcpStream) {
    let mut client = web.connect();
    write!(client, "GET {target} HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
    let mut program = asked(listener);
    let head = head_of(&mut program);
    assert!(head.starts_with(&format!("GET {target} ")), "{head}");
    (client, program)
}

#[test]
fn exchanges_at_once_share_one_connection() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().http_pair(port);
    let mut all: Vec<_> = (0..20).map(|n| ask(&web, &listener, &format!("/{n}"))).collect();
    // All wait now; they are answered in another order.
    for (client, program) in all.iter_mut().rev() {
        program.write_all(SHORT).unwrap();
        head_of(client);
        assert_eq!(exactly(client, 2), b"ok");
    }
    web.wait_metric("weft_client_handshakes_total 1\n");
    api.wait_metric("weft_server_handshakes_total 1\n");
}

#[test]
fn an_exchange_beyond_those_of_a_lane_has_a_connection_of_its_own() {
    assert!(may_open(8 * LANE_CALLER_STREAMS as u64), "ulimit -Hn");
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut all: Vec<_> = (0..LANE_CALLER_STREAMS).map(|n| ask(&web, &listener, &format!("/{n}"))).collect();
    web.wait_metric("weft_client_handshakes_total 1\n");
    all.push(ask(&web, &listener, "/more"));
    web.wait_metric("weft_client_handshakes_total 2\n");
    for (client, program) in &mut all {
        program.write_all(SHORT).unwrap();
        head_of(client);
        assert_eq!(exactly(client, 2), b"ok");
    }
}

#[test]
fn a_client_that_goes_away_takes_only_its_own_request_with_it() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().http_pair(port);
    let (mut staying, mut answering) = ask(&web, &listener, "/stays");
    let (leaving, mut abandoned) = ask(&web, &listener, "/leaves");
    reset(leaving);
    assert!(matches!(abandoned.read(&mut [0]), Ok(0) | Err(_)));
    answering.write_all(SHORT).unwrap();
    head_of(&mut staying);
    assert_eq!(exactly(&mut staying, 2), b"ok");
    api.log.wait(|line| line["path"] == "/leaves" && line["why"] == "reset");
    web.wait_metric("weft_client_handshakes_total 1\n");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().http_pair(port);
    let (mut slow, mut endless) = ask(&web, &listener, "/slow");
    let length = 64 << 20;
    let sending = std::thread::spawn(move || {
        write!(endless, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
        endless.write_all(&vec![7; length])
    });
    let (mut quick, mut program) = ask(&web, &listener, "/quick");
    program.write_all(SHORT).unwrap();
    head_of(&mut quick);
    assert_eq!(exactly(&mut quick, 2), b"ok");
    web.wait_metric("weft_client_handshakes_total 1\n");
    head_of(&mut slow);
    assert_eq!(exactly(&mut slow, length).len(), length);
    sending.join().unwrap().unwrap();
}

#[test]
fn after_a_long_answer_requests_have_connections_of_their_own() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().http_pair(port);
    let (mut client, mut program) = ask(&web, &listener, "/long");
    write!(program, "HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n").unwrap();
    program.write_all(&[7; 40_000]).unwrap();
    head_of(&mut client);
    exactly(&mut client, 40_000);
    web.wait_metric("weft_client_handshakes_total 1\n");
    write!(client, "GET /next HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
    head_of(&mut program);
    web.wait_metric("weft_client_handshakes_total 2\n");
    program.write_all(SHORT).unwrap();
    head_of(&mut client);
}

#[test]
fn a_callee_that_drains_answers_what_it_has_and_takes_nothing_new() {
    let (listener, port) = program();
    let (web, mut api) = Mesh::new().http_pair(port);
    let (mut waiting, mut answering) = ask(&web, &listener, "/waiting");
    let (mut idle, mut first) = ask(&web, &listener, "/first");
    first.write_all(SHORT).unwrap();
    head_of(&mut idle);
    exactly(&mut idle, 2);
    api.begin_stop();
    while TcpStream::connect(api.mesh).is_ok() {
        std::thread::yield_now();
    }
    write!(idle, "GET /late HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
    let head = head_of(&mut idle);
    assert!(head.starts_with("HTTP/1.1 503 "), "nobody has read it, and there is no other endpoint: {head}");
    answering.write_all(SHORT).unwrap();
    head_of(&mut waiting);
    assert_eq!(exactly(&mut waiting, 2), b"ok");
    api.join();
}
