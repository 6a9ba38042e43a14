//! Callers of HBONE that break its bounds, frame by frame: streams that are too many are refused, floods end
//! their connection, and other connections go on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use weft_identity::{MeshTls, server_name};
use weft_proxy::limits::{HBONE_FRAME_BYTES, HBONE_SERVER_HEADER_BYTES, HBONE_SERVER_STREAMS, HBONE_UNSEEN_RESETS};

use super::callee::status;
use super::peer::{connect, to};
use crate::harness::*;

const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const END_HEADERS: u8 = 4;
/// RFC 9113, section 7.
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection with an identity of the mesh, on which everything can be said.
pub(super) struct Raw<T>(pub(super) T);

/// What came: kind, stream and payload.
pub(super) type Frame = (u8, u32, Vec<u8>);

impl Raw<StreamOwned<ClientConnection, TcpStream>> {
    fn to(mesh: &Mesh, api: &Proxy) -> Self {
        let tls = MeshTls::new(Arc::new(mesh.credential("mallory")), &mesh.trust()).unwrap();
        let config = tls.client_config(&[id("api")], &[b"h2"]);
        let socket = patient(TcpStream::connect(api.mesh).unwrap());
        let mut raw = Self(StreamOwned::new(ClientConnection::new(config, server_name()).unwrap(), socket));
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.0.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        raw
    }
}

impl<T: Read> Raw<T> {
    /// The next frame (RFC 9113, section 4.1); `None` when the connection has ended.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((kind, u32::from_be_bytes(stream), payload))
    }

    /// The next frame that isn't about the connection as a whole, save its end.
    fn answer(&mut self) -> Option<Frame> {
        loop {
            match self.next()? {
                (kind, 0, _) if kind != GOAWAY => {}
                frame => return Some(frame),
            }
        }
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `CONNECT authority` on a stream, in literals without an index (RFC 7541, section 6.2.2), and more fields.
fn open(stream: u32, authority: SocketAddr, more: &[u8]) -> Vec<u8> {
    let authority = authority.to_string();
    let length = u8::try_from(authority.len()).unwrap();
    let head = [&[0x02, 7][..], b"CONNECT", &[0x01, length], authority.as_bytes(), more].concat();
    frame(HEADERS, END_HEADERS, stream, &head)
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().unwrap())
}

fn mesh() -> (Mesh, Proxy) {
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    (mesh, api)
}

/// Another connection is served.
fn is_served(mesh: &Mesh, api: &Proxy, port: u16) {
    let (tunnel, _told) = connect(mesh, "web", api.mesh, "api").unwrap();
    assert_eq!(status(&tunnel, &to(SocketAddr::new(CALLEE, port))), 200);
}

#[test]
fn streams_beyond_the_bound_are_refused_and_the_others_go_on() {
    let (listener, port) = program();
    // They wait in its queue.
    socket2::SockRef::from(&listener).listen(2 * HBONE_SERVER_STREAMS as i32).unwrap();
    let (mesh, api) = mesh();
    let mut raw = Raw::to(&mesh, &api);
    let stream = |n: u32| 1 + 2 * n;
    for n in 0..=HBONE_SERVER_STREAMS {
        raw.0.write_all(&open(stream(n), SocketAddr::new(CALLEE, port), &[])).unwrap();
    }
    let mut opened = 0;
    let mut refused = Vec::new();
    while opened < HBONE_SERVER_STREAMS || refused.is_empty() {
        match raw.answer().unwrap() {
            (HEADERS, _, _) => opened += 1,
            (RST_STREAM, stream, payload) => refused.push((stream, code(&payload))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, [(stream(HBONE_SERVER_STREAMS), REFUSED_STREAM)]);
    is_served(&mesh, &api, port);
    // One ends, and there is room for another.
    raw.0.write_all(&frame(RST_STREAM, 0, stream(0), &CANCEL.to_be_bytes())).unwrap();
    raw.0.write_all(&open(stream(HBONE_SERVER_STREAMS + 1), SocketAddr::new(CALLEE, port), &[])).unwrap();
    assert_eq!(raw.answer().map(|(kind, of, _)| (kind, of)), Some((HEADERS, stream(HBONE_SERVER_STREAMS + 1))));
}

#[test]
fn streams_that_are_reset_unseen_end_their_connection() {
    let (_listener, port) = program();
    let (mesh, api) = mesh();
    let mut raw = Raw::to(&mesh, &api);
    let mut flood = Vec::new();
    for stream in (1..).step_by(2).take(2 * HBONE_UNSEEN_RESETS) {
        flood.extend(open(stream, SocketAddr::new(CALLEE, port), &[]));
        flood.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    raw.0.write_all(&flood).unwrap();
    let mut last = None;
    while let Some(frame) = raw.next() {
        last = Some(frame);
    }
    let (kind, _, payload) = last.unwrap();
    assert_eq!((kind, u32::from_be_bytes(payload[4..8].try_into().unwrap())), (GOAWAY, ENHANCE_YOUR_CALM));
    is_served(&mesh, &api, port);
}

#[test]
fn a_frame_that_is_too_long_ends_its_connection() {
    let (_listener, port) = program();
    let (mesh, api) = mesh();
    let mut raw = Raw::to(&mesh, &api);
    raw.0.write_all(&open(1, SocketAddr::new(CALLEE, port), &[])).unwrap();
    assert_eq!(raw.answer().map(|(kind, of, _)| (kind, of)), Some((HEADERS, 1)));
    let long = frame(DATA, 0, 1, &vec![0; HBONE_FRAME_BYTES as usize + 1]);
    // Its head says how long it is.
    raw.0.write_all(&long[..9]).unwrap();
    let last = std::iter::from_fn(|| raw.next()).find(|(kind, ..)| *kind == GOAWAY).unwrap();
    assert_eq!(code(&last.2[4..8]), FRAME_SIZE_ERROR);
    is_served(&mesh, &api, port);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (_listener, port) = program();
    let (mesh, api) = mesh();
    let mut raw = Raw::to(&mesh, &api);
    // A field of 1,000 bytes; each counts for 32 more (RFC 9113, section 10.5.1).
    let field = [&[0x00, 1, b'a', 0x7f, 0xe9, 0x06], &[b'x'; 1000][..]].concat();
    let head = field.repeat(HBONE_SERVER_HEADER_BYTES as usize / 1000 + 1);
    raw.0.write_all(&open(1, SocketAddr::new(CALLEE, port), &head)).unwrap();
    let (kind, stream, payload) = raw.answer().unwrap();
    // 431, which isn't in the static table, or a reset; in no case a call.
    assert_eq!(stream, 1);
    assert!(kind == RST_STREAM || (kind == HEADERS && payload[0] != 0x88), "{kind} {payload:?}");
    raw.0.write_all(&open(3, SocketAddr::new(CALLEE, port), &[])).unwrap();
    let mut rest = std::iter::from_fn(|| raw.answer());
    let next = rest.find(|(_, stream, _)| *stream != 1).unwrap();
    assert_eq!((next.0, next.1), (HEADERS, 3));
    is_served(&mesh, &api, port);
}
