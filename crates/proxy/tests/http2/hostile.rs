//! Programs that break HTTP/2, frame by frame: their connection ends or is held back, the proxy holds no
//! more than its bounds allow, and other connections go on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http::Response;
use weft_proxy::limits::{H2_FRAME_BYTES, H2_PREFACE_WAIT};

use crate::harness::*;
use crate::http::{alone, anonymous_kib};
use crate::programs::{Program, Stream, ask, client, http2_pair, http2_service, request, run};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// More than the proxy and both kernels take of anything that isn't read.
const ENDLESS: usize = 256 << 20;

/// Who takes nothing for that long is taken to be full.
const A_WHILE: Duration = Duration::from_millis(500);

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST / http api`, in RFC 7541's static table but for the last.
fn head() -> Vec<u8> {
    [&[0x83, 0x86, 0x84, 0x01, 3], &b"api"[..]].concat()
}

/// A connection on which everything can be said. `settings` are its own.
fn connect(at: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut socket = patient(TcpStream::connect(at).unwrap());
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
    socket
}

/// Says the same again and again and reads nothing, until that is refused, or nobody has taken it for so long.
/// Returns how that showed, and the most memory in KiB that the process had more than before.
fn flood(socket: &mut TcpStream, frames: &[u8], patience: Duration) -> (ErrorKind, u64) {
    let before = anonymous_kib();
    let mut most = 0;
    socket.set_write_timeout(Some(patience)).unwrap();
    for _ in 0..ENDLESS / frames.len() {
        if let Err(error) = socket.write_all(frames) {
            return (error.kind(), most.max(anonymous_kib().saturating_sub(before)));
        }
        most = most.max(anonymous_kib().saturating_sub(before));
    }
    panic!("{ENDLESS} bytes were taken, and {most} KiB held");
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Answers at once, and reads nothing.
fn answers() -> Program {
    Program::start(|(_request, mut respond): Stream| {
        Box::pin(async move {
            respond.send_response(Response::new(()), true).unwrap();
        })
    })
}

fn is_served(web: &Proxy) {
    run(async {
        let other = client(web.outbound).await;
        assert_eq!(ask(&other, request("/"), "").await.unwrap().head.status(), 200);
    });
}

#[test]
fn a_program_that_does_not_begin_http2_is_given_up() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let (api, clock) = mesh.held("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(http2_service(&[(CALLEE, Tunnel::Mesh(api.mesh))], port));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let mut caller = connect(web.outbound, &[]);
    caller.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head())).unwrap();
    let mut callee = accept(&listener);
    callee.read_exact(&mut [0; 24]).unwrap();
    callee.set_nonblocking(true).unwrap();
    clock.ends(H2_PREFACE_WAIT, || match callee.read(&mut [0; 4096]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    });
}

#[test]
fn a_head_without_end_ends_its_connection() {
    alone("hostile::a_head_without_end_ends_its_connection", head_without_end);
}

fn head_without_end() {
    let program = answers();
    let (web, _api) = http2_pair(program.port);
    is_served(&web);
    // A field of 1,000 bytes, not to be indexed; and nothing, which adds to no length.
    let field = [&[0x00, 1, b'a', 0x7f, 0xe9, 0x06], &[b'x'; 1000][..]].concat();
    for piece in [field, Vec::new()] {
        let mut socket = connect(web.outbound, &[]);
        socket.write_all(&frame(HEADERS, END_STREAM, 1, &head())).unwrap();
        let (how, most) = flood(&mut socket, &frame(CONTINUATION, 0, 1, &piece).repeat(100), PATIENCE);
        assert!(is_end(how), "{how}");
        assert!(most < 16 << 10, "{most} KiB were held");
        is_served(&web);
    }
}

#[test]
fn a_frame_that_is_too_long_ends_its_connection() {
    let program = answers();
    let (web, _api) = http2_pair(program.port);
    let mut socket = connect(web.outbound, &[]);
    socket.write_all(&frame(HEADERS, END_HEADERS, 1, &head())).unwrap();
    let long = frame(DATA, 0, 1, &vec![0; H2_FRAME_BYTES as usize + 1]);
    // Its head says how long it is.
    socket.write_all(&long[..9]).unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).unwrap();
    is_served(&web);
}

#[test]
fn answers_that_nobody_reads_are_not_piled_up() {
    alone("hostile::answers_that_nobody_reads_are_not_piled_up", unread_answers);
}

fn unread_answers() {
    let program = answers();
    let (web, _api) = http2_pair(program.port);
    is_served(&web);
    let window_of_one = [0, 4, 0, 0, 0, 1];
    for asked in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &window_of_one)] {
        let (_how, most) = flood(&mut connect(web.outbound, &[]), &asked.repeat(1000), A_WHILE);
        assert!(most < 16 << 10, "{most} KiB were held");
        is_served(&web);
    }
}

#[test]
fn frames_that_carry_nothing_are_bounded_too() {
    alone("hostile::frames_that_carry_nothing_are_bounded_too", empty_frames);
}

fn empty_frames() {
    // It neither reads nor answers what isn't at `/`.
    let program = Program::start(|(request, mut respond): Stream| {
        Box::pin(async move {
            if request.uri().path() != "/" {
                std::future::pending::<()>().await;
            }
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    is_served(&web);
    let mut socket = connect(web.outbound, &[]);
    let elsewhere = [&[0x83, 0x86, 0x04, 2], &b"/x"[..], &[0x01, 3], b"api"].concat();
    socket.write_all(&frame(HEADERS, END_HEADERS, 1, &elsewhere)).unwrap();
    let (_how, most) = flood(&mut socket, &frame(DATA, 0, 1, &[]).repeat(1000), A_WHILE);
    // `H2_SMALL_FRAMES` on each of two connections in this process.
    assert!(most < 160 << 10, "{most} KiB were held");
    is_served(&web);
}

#[test]
fn a_client_that_grants_no_room_holds_up_nobody() {
    alone("hostile::a_client_that_grants_no_room_holds_up_nobody", no_room);
}

fn no_room() {
    const STREAMS: u32 = 200;
    let program = Program::start(|(request, mut respond): Stream| {
        Box::pin(async move {
            let mut content = respond.send_response(Response::new(()), false).unwrap();
            let body = if request.uri().path() == "/" { bytes::Bytes::new() } else { vec![7; 1 << 20].into() };
            // The client may have gone.
            let _gone = crate::programs::send_last(&mut content, body).await;
        })
    });
    let (web, _api) = http2_pair(program.port);
    is_served(&web);
    let before = anonymous_kib();
    let mut socket = connect(web.outbound, &[0, 4, 0, 0, 0, 1]);
    let elsewhere = [&[0x83, 0x86, 0x04, 2], &b"/x"[..], &[0x01, 3], b"api"].concat();
    for stream in (1..).step_by(2).take(STREAMS as usize) {
        socket.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &elsewhere)).unwrap();
    }
    // Each gets its head, and a byte.
    let mut seen = Vec::new();
    let byte = |seen: &[u8]| seen.windows(10).filter(|bytes| bytes[..5] == [0, 0, 1, DATA, 0] && bytes[9] == 7).count();
    while byte(&seen) < STREAMS as usize {
        let mut bytes = [0; 4096];
        let length = socket.read(&mut bytes).unwrap();
        assert!(length > 0, "the connection ended after {} bytes", seen.len());
        seen.extend_from_slice(&bytes[..length]);
    }
    is_served(&web);
    // Of 200 MiB each stream's windows, in two proxies and the program, which is in this process too.
    let held = anonymous_kib().saturating_sub(before);
    assert!(held < 512 << 10, "{held} KiB were held");
}
