//! Readers that don't read: their senders are held back, and what the proxies hold for them stays small.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use weft_proxy::limits::{HBONE_CONNECTION_WINDOW, HBONE_SEND_BUFFER, HBONE_STREAM_WINDOW, LANE_REQUEST_BYTES};

use crate::harness::*;
use crate::http::{alone, anonymous_kib, asked, exactly, head_of};

/// How many of them there are at once.
const READERS: usize = 8;
/// What both proxies may hold for one of them: some of `COPY_BYTES`, as plaintext and as ciphertext.
const EACH: usize = 1 << 20;

/// Who sends, and who doesn't read.
type Pair = (TcpStream, TcpStream);

/// Has all send at once until nothing more is taken. Returns how much memory that took, in KiB.
fn held_of(pairs: &mut [Pair]) -> u64 {
    let before = anonymous_kib();
    std::thread::scope(|scope| {
        let sending: Vec<_> = pairs.iter_mut().map(|(sender, _)| scope.spawn(|| fill(sender))).collect();
        for sent in sending {
            assert!(sent.join().unwrap() > 1 << 16, "it was held back too early");
        }
    });
    anonymous_kib().saturating_sub(before)
}

fn check(held: u64, most: usize, web: &Proxy, listener: &TcpListener) {
    assert!(held < most as u64 >> 10, "readers that stall hold {held} KiB");
    // Others go on.
    let (mut caller, mut callee) = (web.connect(), accept(listener));
    callee.write_all(b"hello").unwrap();
    caller.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn of_tcp() {
    alone("slow::of_tcp", || {
        let (listener, port) = program();
        let (web, _api) = Mesh::new().pair(port);
        check(held_of(&mut connected(READERS, &web, &listener)), READERS * EACH, &web, &listener);
    });
}

#[test]
fn of_hbone() {
    alone("slow::of_hbone", || {
        let (listener, port) = program();
        let mesh = Mesh::new();
        let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
        mesh.registry.put(service("api", &[(CALLEE, Tunnel::Hbone(api.mesh))]));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
        // They share a connection: with one more its window would be used up, and others wait too.
        let readers = (HBONE_CONNECTION_WINDOW / HBONE_STREAM_WINDOW) as usize - 1;
        let most = readers * (HBONE_STREAM_WINDOW as usize + HBONE_SEND_BUFFER + EACH);
        check(held_of(&mut connected(readers, &web, &listener)), most, &web, &listener);
    });
}

/// Programs that are called, and callers that don't read them.
fn connected(readers: usize, web: &Proxy, listener: &TcpListener) -> Vec<Pair> {
    let pair = |_| {
        let (mut caller, mut callee) = (web.connect(), accept(listener));
        callee.write_all(b"x").unwrap();
        caller.read_exact(&mut [0]).unwrap();
        (callee, caller)
    };
    (0..readers).map(pair).collect()
}

#[test]
fn of_lanes() {
    alone("slow::of_lanes", || of_http1(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n"));
}

#[test]
fn of_http1_on_connections_of_its_own() {
    let body = vec![b'x'; LANE_REQUEST_BYTES + 1];
    let head = format!("POST / HTTP/1.1\r\nhost: api\r\ncontent-length: {}\r\n\r\n", body.len());
    alone("slow::of_http1_on_connections_of_its_own", || of_http1(&[head.as_bytes(), &body].concat()));
}

/// All ask, and then all are answered.
fn of_http1(request: &[u8]) {
    let (listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let ask = |_| {
        let mut caller = web.connect();
        caller.write_all(request).unwrap();
        let mut callee = asked(&listener);
        let head = head_of(&mut callee);
        exactly(&mut callee, request.len() - request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() - 4);
        assert!(head.contains(" / HTTP/1.1"), "{head}");
        (callee, caller)
    };
    let mut pairs: Vec<Pair> = (0..READERS).map(ask).collect();
    for (callee, _) in &mut pairs {
        callee.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    }
    check(held_of(&mut pairs), READERS * EACH, &web, &listener);
}
