//! HTTP/1 through two proxies: bytes kept, framing, connections used again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;
use crate::http::*;
use crate::http1_ends::answer_all;

#[test]
fn heads_keep_their_bytes_and_connections_are_used_again() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().http_pair(port);
    let mut caller = web.connect();
    let mut seen = Vec::new();
    let mut callee = None;
    for n in 0..3 {
        let head = format!("GET /{n}?q=%2f HTTP/1.1\r\nhOsT: api\r\nX-B:  2\t\r\nx-a: 1\r\nX-B: 3\r\n");
        write!(caller, "{head}x-request-id: id-{n}\r\n\r\n").unwrap();
        let callee = callee.get_or_insert_with(|| asked(&listener));
        let got = head_of(callee);
        assert!(got.starts_with(&head), "{got}");
        seen.push(got);
        callee.write_all(b"HTTP/1.1 200 Fine\r\nX-y: 1\r\nContent-Length: 2\r\nx-Z: 2\r\n\r\nok").unwrap();
        let answer = "HTTP/1.1 200 Fine\r\nX-y: 1\r\nContent-Length: 2\r\nx-Z: 2\r\n\r\n";
        assert_eq!(head_of(&mut caller), answer);
        assert_eq!(exactly(&mut caller, 2), b"ok");
    }
    assert!(seen[0].contains("x-forwarded-client-cert: By=spiffe://cluster.local/ns/default/sa/api;URI=spiffe://cluster.local/ns/default/sa/web\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("x-request-id: id-0\r\n"), "{}", seen[0]);
    let line = web.log.wait(|line| line["request_id"] == "id-2");
    assert_eq!((&line["status"], &line["method"], &line["path"]), (&200.into(), &"GET".into(), &"/2?q=%2f".into()));
    web.wait_metric("weft_client_handshakes_total 1\n");
    web.wait_metric("request_protocol=\"http\",response_flags=\"-\",connection_security_policy=\"unknown\",response_code=\"200\",grpc_response_status=\"\"} 3\n");
}

/// Python's `http.server` does so, and so do many that never heard of Nagle. One that has takes as long, or the
/// other waits for a timer of the system's.
#[test]
fn an_answer_in_many_writes_is_not_held_up() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().http_pair(port);
    let mut caller = web.connect();
    let mut callee = None;
    let mut least = [Duration::MAX; 2];
    for turn in 0..40 {
        caller.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").unwrap();
        let callee = callee.get_or_insert_with(|| asked(&listener));
        head_of(callee);
        let is_fast = turn % 2 == 0;
        callee.set_nodelay(is_fast).unwrap();
        let begin = Instant::now();
        callee.write_all(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\n").unwrap();
        callee.write_all(b"o").unwrap();
        head_of(&mut caller);
        exactly(&mut caller, 1);
        callee.write_all(b"k").unwrap();
        exactly(&mut caller, 1);
        // The first ones are acknowledged at once in any case; the machine may be busy at any of them.
        if turn >= 20 {
            let least = &mut least[usize::from(is_fast)];
            *least = begin.elapsed().min(*least);
        }
    }
    assert!(least[0] < least[1] * 10, "{least:?}");
}

#[test]
fn a_connection_that_a_user_has_authenticated_is_used_for_no_other() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    for scheme in ["Negotiate YII=", "ntlm TlRM"] {
        let (mut alice, mut other) = (web.connect(), web.connect());
        write!(alice, "GET /alice HTTP/1.1\r\nHost: a\r\nAuthorization: {scheme}\r\n\r\n").unwrap();
        let mut callee = asked(&listener);
        let first = callee.peer_addr().unwrap();
        assert!(head_of(&mut callee).contains(scheme));
        callee.write_all(b"HTTP/1.1 204 Fine\r\n\r\n").unwrap();
        head_of(&mut alice);
        other.write_all(b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut callee = asked_again(&listener, Some(callee));
        assert_ne!(callee.peer_addr().unwrap(), first, "{scheme}");
        head_of(&mut callee);
        callee.write_all(b"HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n").unwrap();
        head_of(&mut other);
    }
}

#[test]
fn a_request_without_an_id_gets_one_and_a_forged_identity_is_taken_out() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://x\r\nx_forwarded_client_cert: y\r\nL5d-Client-Id: z\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    let head = head_of(&mut callee);
    assert!(!head.contains("spiffe://x") && !head.contains(": y") && !head.contains(": z"), "{head}");
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();
    callee.write_all(b"HTTP/1.1 204 None\r\n\r\n").unwrap();
    assert_eq!(head_of(&mut caller), "HTTP/1.1 204 None\r\n\r\n");
    api.log.wait(|line| line["request_id"] == *id && line["verdict"] == "allow");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let requests: String =
        (0..20).map(|n| format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")).collect();
    caller.write_all(requests.as_bytes()).unwrap();
    let mut callee = asked(&listener);
    for n in 0..20 {
        assert!(head_of(&mut callee).starts_with(&format!("POST /{n} ")));
        assert_eq!(exactly(&mut callee, 3), b"abc");
        write!(callee, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{n:02}").unwrap();
    }
    for n in 0..20 {
        head_of(&mut caller);
        assert_eq!(exactly(&mut caller, 2), format!("{n:02}").as_bytes());
    }
}

#[test]
fn chunks_extensions_and_trailers_pass_unchanged_both_ways() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let body = b"3;a=b\r\nabc\r\n0a\r\n0123456789\r\n0\r\nx-sum: 7\r\nX-More: 8\r\n\r\n";
    caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    // Byte by byte: no chunk line comes whole.
    for byte in body {
        caller.write_all(&[*byte]).unwrap();
    }
    let mut callee = asked(&listener);
    head_of(&mut callee);
    assert_eq!(exactly(&mut callee, body.len()), body);
    callee.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    callee.write_all(body).unwrap();
    head_of(&mut caller);
    assert_eq!(exactly(&mut caller, body.len()), body);
    // The connection goes on.
    caller.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head_of(&mut callee).starts_with("GET /next "));
}

#[test]
fn interim_answers_pass_and_a_final_one_may_come_before_the_body_ends() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    assert!(head_of(&mut callee).contains("Expect: 100-continue\r\n"));
    callee.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(head_of(&mut caller), "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"abc").unwrap();
    assert_eq!(exactly(&mut callee, 3), b"abc");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    write!(callee, "{hints}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").unwrap();
    assert_eq!(head_of(&mut caller), hints);
    head_of(&mut caller);
    assert_eq!(exactly(&mut caller, 1), b"x");
    caller.write_all(b"def").unwrap();
    assert_eq!(exactly(&mut callee, 3), b"def");
    caller.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head_of(&mut callee).starts_with("GET /next "));
}

#[test]
fn answers_without_bodies_leave_the_connection_open() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let mut kept = None;
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        write!(caller, "{method} / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut callee = asked_again(&listener, kept);
        head_of(&mut callee);
        callee.write_all(answer.as_bytes()).unwrap();
        assert_eq!(head_of(&mut caller), answer);
        kept = Some(callee);
    }
}

#[test]
fn old_clients_and_bodies_that_end_with_the_connection() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut caller = web.connect();
        caller.write_all(request.as_bytes()).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        callee.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
        drop(callee);
        assert_eq!(read_to_end(&mut caller), b"HTTP/1.0 200 OK\r\n\r\nuntil the end");
    }
}

#[test]
fn what_is_switched_are_plain_bytes() {
    let (listener, port) = program();
    let (web, api) = Mesh::new().pair(port);
    for (request, answer) in [
        (
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        ("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "HTTP/1.1 200 Connected\r\n\r\n"),
    ] {
        let mut caller = web.connect();
        caller.write_all(request.as_bytes()).unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        write!(callee, "{answer}at once").unwrap();
        assert_eq!(head_of(&mut caller), answer);
        assert_eq!(exactly(&mut caller, 7), b"at once");
        caller.write_all(b"\0GET / nothing").unwrap();
        assert_eq!(exactly(&mut callee, 14), b"\0GET / nothing");
        caller.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut callee), b"");
        callee.write_all(b"late").unwrap();
        drop(callee);
        assert_eq!(read_to_end(&mut caller), b"late");
    }
    api.log.wait(|line| line["status"] == 101 && line["bytes_received"].as_u64().unwrap() > 14);
}

#[test]
fn large_bodies_pass_both_ways_without_being_held() {
    alone(
        "http1::large_bodies_pass_both_ways_without_being_held",
        large_bodies_pass_both_ways_without_being_held_alone,
    );
}

fn large_bodies_pass_both_ways_without_being_held_alone() {
    const LENGTH: usize = 100 << 20;
    for framing in [Framing::Length, Framing::Chunked] {
        let (listener, port) = program();
        let (web, _api) = Mesh::new().pair(port);
        let mut caller = web.connect();
        let before = anonymous_kib();
        let mut sending = caller.try_clone().unwrap();
        let sender = thread::spawn(move || {
            sending
                .write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n", framing.field(LENGTH)).as_bytes())
                .unwrap();
            send_body(&mut sending, framing, LENGTH);
        });
        let callee = asked(&listener);
        let echo = thread::spawn(move || {
            let (mut from, mut to) = (callee.try_clone().unwrap(), callee);
            head_of(&mut from);
            to.write_all(format!("HTTP/1.1 200 OK\r\n{}\r\n", framing.field(LENGTH)).as_bytes()).unwrap();
            let (mut chunk, mut left) = (vec![0; 1 << 16], framing.bytes(LENGTH));
            while left > 0 {
                let length = from.read(&mut chunk).unwrap();
                to.write_all(&chunk[..length]).unwrap();
                left -= length;
            }
        });
        head_of(&mut caller);
        let most = check_body(&mut caller, framing, LENGTH);
        sender.join().unwrap();
        echo.join().unwrap();
        assert!(most.saturating_sub(before) < 32 << 10, "{before} KiB before, {most} KiB at most");
    }
}

#[test]
fn a_slow_reader_slows_the_program() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    head_of(&mut callee);
    callee.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let sent = fill(&mut callee);
    drop(callee);
    head_of(&mut caller);
    assert_eq!(read_to_end(&mut caller).len(), sent);
}

#[test]
fn a_large_head_passes_and_a_larger_one_is_refused() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let head = |length| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length));
    // What the proxies add has room, too.
    caller.write_all(head(64_000).as_bytes()).unwrap();
    let mut callee = asked(&listener);
    assert!(head_of(&mut callee).len() > 64_000);
    write!(callee, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "y".repeat(64_000)).unwrap();
    assert!(head_of(&mut caller).len() > 64_000);
    // It may be refused before it has come whole.
    let _refused = caller.write_all(head(66_000).as_bytes());
    assert!(head_of(&mut caller).starts_with("HTTP/1.1 431 "));
}

#[test]
fn what_can_be_read_twice_is_refused_by_the_first_proxy() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().http_pair(port);
    for rest in [
        "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "Host: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        "Host: a\r\nContent-Length: +3\r\n\r\nabc",
        "Host: a\r\nX: a\r\n b\r\n\r\n",
        "Host: a\r\nX: a\rb\r\n\r\n",
        "Host: a\r\nX: a\nY: b\r\n\r\n",
        "Host: a\r\nX: a\0b\r\n\r\n",
        "Host: a\r\nHost: b\r\n\r\n",
        "X: no host\r\n\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n",
    ] {
        let mut caller = web.connect();
        let request = format!("POST / HTTP/1.1\r\n{rest}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        caller.write_all(request.as_bytes()).unwrap();
        let answer = String::from_utf8(read_to_end(&mut caller)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nweft-error: bad-request; "), "{rest:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    let line = web.log.wait(|line| line["why"] == "bad-request");
    assert_eq!((&line["status"], &line["flag"]), (&400.into(), &"DPE".into()));
}

#[test]
fn requests_of_one_connection_are_spread_over_endpoints() {
    let mesh = Mesh::new();
    let (one, port) = program();
    let two = TcpListener::bind(("127.0.0.2", port)).unwrap();
    // The programs of proxies under test are all on 127.0.0.1, so the other endpoint has no proxy.
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry
        .put(service("api", &[(CALLEE, Tunnel::Mesh(api.mesh)), ("127.0.0.2".parse().unwrap(), Tunnel::Plain)]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let serve = |listener: TcpListener, name: &'static str| {
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                thread::spawn(move || answer_all(socket, name));
            }
        });
    };
    serve(one, "1");
    serve(two, "2");
    let mut caller = web.connect();
    let mut seen = [0; 2];
    for _ in 0..60 {
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        head_of(&mut caller);
        seen[usize::from(exactly(&mut caller, 1)[0] - b'1')] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn unmodified_programs_speak() {
    let (folder, mut server, port) = python_server();
    let (web, _api) = Mesh::new().pair(port);
    let url = |path: &str| format!("http://{}/{path}", web.outbound);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(folder.path().join("a.txt"), "content").unwrap();
    assert_eq!(curl(&[&url("a.txt")]), "content");
    assert_eq!(curl(&[&url("a.txt"), &url("a.txt")]), "contentcontent");
    assert!(curl(&["-I", &url("a.txt")]).starts_with("HTTP/1.0 200 OK"));
    assert!(
        curl(&["-H", "Expect: 100-continue", "-d", "x=1", "-w", "%{http_code}", "-o", "/dev/null", &url("a.txt")])
            .contains("501")
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_port_whose_server_speaks_first_is_not_kept_waiting_once_http_is_known() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let mut caller = web.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut callee = asked(&listener);
    head_of(&mut callee);
    callee.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    head_of(&mut caller);
    // Nobody is dialled for a silent client at first, but it is heard of after a while.
    for _ in 0..2 {
        let mut silent = web.connect();
        accept(&listener).write_all(b"220 ready\r\n").unwrap();
        assert_eq!(exactly(&mut silent, 5), b"220 r");
    }
}

#[test]
fn a_prefix_that_stays_one_passes_as_tcp() {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    for bytes in [&b"GET /what"[..], b"PRI * HT", b"EHLO me\r\n", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut caller = web.connect();
        caller.write_all(bytes).unwrap();
        let mut callee = asked(&listener);
        let got = exactly(&mut callee, bytes.len());
        assert_eq!(got, bytes);
    }
}
