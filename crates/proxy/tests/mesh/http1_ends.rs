//! How exchanges of HTTP/1 end when somebody goes, fails or is full: who is told, and what goes on.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;

use weft_mesh::record::Destination;
use weft_proxy::limits::{ENDPOINT_TRIES, IDLE_PER_ENDPOINT, LANE_REQUEST_BYTES};

use crate::fakes::refuser;
use crate::flood::{gauge, may_open};
use crate::harness::*;
use crate::http::*;

/// A short request goes by a lane, a long one has a connection of its own.
#[test]
fn a_program_is_told_that_its_caller_has_gone_or_says_no_more() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    for length in [0, 100_000] {
        let ask = || {
            let mut caller = web.connect();
            let head = format!("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
            caller.write_all(&[head.as_bytes(), &vec![b'x'; length]].concat()).unwrap();
            let mut callee = asked(&listener);
            head_of(&mut callee);
            exactly(&mut callee, length);
            (caller, callee)
        };
        let (caller, mut callee) = ask();
        drop(caller);
        assert_eq!(read_to_end(&mut callee), b"", "{length}");

        let (mut caller, mut callee) = ask();
        caller.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut callee), b"", "{length}");
        callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").unwrap();
        let answer = String::from_utf8(read_to_end(&mut caller)).unwrap();
        assert!(answer.ends_with("\r\n\r\nyes"), "{answer}");
    }
}

#[test]
fn a_client_that_closes_leaves_the_programs_connection_open() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut callee = None;
    for _ in 0..2 {
        let mut caller = web.connect();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let callee = callee.get_or_insert_with(|| asked(&listener));
        let head = head_of(callee);
        assert!(!head.to_lowercase().contains("connection"), "{head}");
        callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        assert_eq!(read_to_end(&mut caller), answer);
    }
}

#[test]
fn a_program_that_dies_amid_its_answer_leaves_no_clean_end() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    for head in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "\r\nabc"] {
        let mut caller = web.connect();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        write!(callee, "HTTP/1.1 200 OK\r\n{head}").unwrap();
        head_of(&mut caller);
        reset(callee);
        let mut rest = Vec::new();
        assert!(caller.read_to_end(&mut rest).is_err(), "{head:?} ended cleanly: {rest:?}");
    }
    let line = api.log.wait(|line| line["why"] == "reset");
    assert_eq!((&line["hop"], &line["status"]), (&"callee".into(), &200.into()));
}

/// A proxy that still sends may find out by writing: what it reads afterwards is no clean end.
#[test]
fn a_program_that_dies_while_its_caller_sends_leaves_no_clean_end() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    for attempt in 0..20 {
        let mut caller = web.connect();
        let path = format!("/{attempt}");
        write!(caller, "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        let mut sends = caller.try_clone().unwrap();
        let sending = thread::spawn(move || while sends.write_all(&[b'x'; 500]).is_ok() {});
        callee.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
        head_of(&mut caller);
        reset(callee);
        for proxy in [&api, &web] {
            let line = proxy.log.wait(|line| line["path"] == path);
            assert_eq!(line["why"], "reset", "{line}");
        }
        sending.join().unwrap();
    }
}

#[test]
fn bad_answers_and_none_are_told() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    for (answer, why) in [
        ("", "reset"),
        ("nonsense\r\n\r\n", "bad-response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "bad-response"),
        ("HTTP/1.1 101 Unasked\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "bad-response"),
    ] {
        let mut caller = web.connect();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        callee.write_all(answer.as_bytes()).unwrap();
        drop(callee);
        let head = head_of(&mut caller);
        assert!(head.starts_with(&format!("HTTP/1.1 502 Bad Gateway\r\nweft-error: {why}; callee; ")), "{head}");
        api.log.wait(|line| line["why"] == why && line["status"] == 502);
    }
}

#[test]
fn a_program_that_does_not_listen_gets_its_callers_503() {
    let (_held, at) = nobody();
    let (web, api) = Mesh::new().pair(at.port());
    let mut caller = web.connect();
    caller.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut caller)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nweft-error: connect; callee's proxy; "),
        "{answer}"
    );
    assert!(answer.ends_with("connection: close\r\n\r\n") && !answer.contains("weft-unprocessed"), "{answer}");
    let line = web.log.wait(|line| line["status"] == 503);
    assert_eq!((&line["why"], &line["flag"]), (&"connect".into(), &"UF".into()));
    assert_eq!(line["detail"], api.log.wait(|line| line["status"] == 503)["detail"], "it is told once");
}

#[test]
fn an_endpoint_that_is_down_is_passed_over() {
    let mesh = Mesh::new();
    let (listener, port) = program();
    let (_held, gone) = nobody();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let down: IpAddr = Ipv4Addr::new(240, 240, 1, 3).into();
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(api.mesh)), (down, Tunnel::Mesh(gone))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            thread::spawn(move || answer_all(socket, "1"));
        }
    });
    for _ in 0..20 {
        let mut caller = web.connect();
        caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert!(head_of(&mut caller).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn of_many_endpoints_that_are_down_three_are_tried() {
    let mesh = Mesh::new();
    let refusers: Vec<_> = (2..7).map(|n| (IpAddr::from([240, 240, 1, n]), refuser())).collect();
    let endpoints: Vec<_> = refusers.iter().map(|(ip, (at, _))| (*ip, Tunnel::Mesh(*at))).collect();
    // Declared, for nobody is dialled then before the client speaks.
    mesh.registry.put(http_service(&endpoints, 80));
    let tried = || refusers.iter().map(|(_, (_, closed))| closed.load(Ordering::SeqCst)).sum::<usize>();
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    let mut caller = web.connect();
    caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    let head = head_of(&mut caller);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(tried(), ENDPOINT_TRIES);
    // What can't become HTTP isn't held.
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 81));
    let mut caller = web.connect();
    assert!(caller.write_all(b"\0ping").is_err() || is_reset(&mut caller));
    assert_eq!(tried(), 2 * ENDPOINT_TRIES);
}

#[test]
fn connections_that_wait_for_their_next_exchange_are_bounded() {
    const MORE: usize = 5;
    let calls = IDLE_PER_ENDPOINT + MORE;
    assert!(may_open(8 * calls as u64), "ulimit -Hn");
    let (listener, port) = program();
    let (web, api) = Mesh::new().http_pair(port);
    let body = vec![b'x'; LANE_REQUEST_BYTES + 1];
    let request = format!("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: {}\r\n\r\n", body.len());
    let ask = |_| {
        let mut caller = web.connect();
        caller.write_all(&[request.as_bytes(), &body].concat()).unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        exactly(&mut callee, body.len());
        (caller, callee)
    };
    let mut all: Vec<_> = (0..calls).map(ask).collect();
    let callers_of = |page: &str| gauge(page, "weft_inbound_connections ");
    assert_eq!(callers_of(&api.page("/metrics")), calls);
    for (caller, callee) in &mut all {
        callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert!(head_of(caller).starts_with("HTTP/1.1 200 "));
    }
    api.wait_metrics(|page| callers_of(page) == IDLE_PER_ENDPOINT);
    web.wait_metric(&format!("weft_spare_tunnels {IDLE_PER_ENDPOINT}\n"));
}

#[test]
fn connections_that_died_while_they_waited_are_replaced() {
    let mesh = Mesh::new();
    let (listener, port) = program();
    let (web, mut api) = mesh.pair(port);
    let mut caller = web.connect();
    for _ in 0..3 {
        caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        exactly(&mut callee, 1);
        callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        // It closes without having said so.
        drop(callee);
        assert!(head_of(&mut caller).starts_with("HTTP/1.1 200 "));
    }
    // The callee's proxy is replaced: the tunnel that waits is of no use.
    let at = api.mesh;
    api.begin_stop();
    api.join();
    let renewed = mesh.proxy_at("api", CALLEE, SocketAddr::new(SERVICE, 1), at);
    caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").unwrap();
    let mut callee = asked(&listener);
    head_of(&mut callee);
    callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(head_of(&mut caller).starts_with("HTTP/1.1 200 "));
    drop(renewed);
}

#[test]
fn a_client_that_goes_is_noticed_by_the_program() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    head_of(&mut callee);
    reset(caller);
    assert!(is_reset(&mut callee));
    let line = web.log.wait(|line| line["why"] == "reset");
    assert_eq!((&line["hop"], &line["status"]), (&"caller".into(), &0.into()));
}

#[test]
fn draining_closes_what_is_idle_and_ends_what_is_not() {
    let (listener, port) = program();
    let (mut web, _api) = Mesh::new().pair(port);
    let (mut idle, mut busy) = (web.connect(), web.connect());
    for caller in [&mut idle, &mut busy] {
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let (mut one, mut two) = (asked(&listener), asked(&listener));
    let head = head_of(&mut one);
    head_of(&mut two);
    one.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(head.starts_with("GET / "));
    let mut byte = [0; 512];
    idle.set_nonblocking(true).unwrap();
    busy.set_nonblocking(true).unwrap();
    let first = loop {
        if idle.read(&mut byte).is_ok() {
            break 0;
        }
        if busy.read(&mut byte).is_ok() {
            break 1;
        }
    };
    let (mut idle, mut busy) = if first == 0 { (idle, busy) } else { (busy, idle) };
    idle.set_nonblocking(false).unwrap();
    busy.set_nonblocking(false).unwrap();
    web.begin_stop();
    assert_eq!(read_to_end(&mut idle), b"");
    two.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut busy)).unwrap();
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    web.join();
}

/// The registry's record changes while a connection is open.
#[test]
fn a_service_that_goes_is_told_on_an_open_connection() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    head_of(&mut callee);
    callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    head_of(&mut caller);
    let empty = Destination { endpoints: Vec::new(), ..service("api", &[]) };
    web.tell(weft_proxy::records::Update::Destination(Box::new(empty)));
    web.wait_metric("weft_");
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head_of(&mut caller).starts_with("HTTP/1.1 503 Service Unavailable\r\nweft-error: no-endpoint; "));
}

pub(crate) fn answer_all(mut socket: TcpStream, name: &str) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if socket.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}").unwrap();
    }
}
