//! How streams and connections end: GOAWAY amid traffic, resets of every kind, and what of it one
//! program's trouble may do to others on the same connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::{Reason, SendStream};
use weft_hbone_peer::client::Tunnel;
use weft_hbone_peer::pipe::Halves;
use weft_hbone_peer::server::Rules;

use super::callee::{called, status, through};
use super::caller::{calling, rules};
use super::peer::{PEERS, connect, to};
use crate::harness::Tunnel as Way;
use crate::harness::*;
use crate::http::read_to_end;

#[test]
fn a_goaway_lets_go_on_what_is_open_and_sends_new_calls_elsewhere() {
    let (listener, port) = program();
    let (web, told) = calling(port, Way::Hbone, Rules { go_away_after: Some(2), ..rules() });
    let mut pairs: Vec<_> = (0..5).map(|_| (web.connect(), accept(&listener))).collect();
    for (n, (caller, callee)) in pairs.iter_mut().enumerate() {
        caller.write_all(&[n as u8; 100]).unwrap();
        callee.write_all(&[n as u8; 100]).unwrap();
        let (mut there, mut back) = ([0; 100], [0; 100]);
        callee.read_exact(&mut there).unwrap();
        caller.read_exact(&mut back).unwrap();
        assert_eq!((there, back), ([n as u8; 100], [n as u8; 100]));
        callee.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(caller), b"");
        caller.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(callee), b"");
    }
    for _ in 0..5 {
        let stream = told.next("stream");
        assert!(stream["why"].is_null(), "{stream}");
    }
    // Two streams each, at most: at least three connections were made.
    web.wait_metrics(|page| {
        ["3", "4", "5"].iter().any(|n| page.contains(&format!("weft_client_handshakes_total {n}\n")))
    });
}

#[test]
fn a_stream_that_was_refused_is_opened_on_another_connection() {
    for (reason, connections) in [(Reason::REFUSED_STREAM, 3), (Reason::INTERNAL_ERROR, 1)] {
        let (web, _told) = calling(1, Way::Hbone, Rules { reset: Some(reason), ..rules() });
        assert!(is_reset(&mut web.connect()));
        web.log.wait(|line| line["why"] == "connect");
        web.wait_metric(&format!("weft_client_handshakes_total {connections}\n"));
    }
}

#[test]
fn a_reset_says_that_the_program_s_connection_broke() {
    let (listener, port) = program();
    let (web, told) = calling(port, Way::Hbone, rules());
    let (mut caller, mut callee) = (web.connect(), accept(&listener));
    callee.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    reset(caller);
    assert!(is_reset(&mut callee));
    // RFC 9113, section 8.5. ztunnel would take CANCEL for a clean end.
    assert_eq!(told.next("stream")["why"], "reset by peer: CONNECT_ERROR");
}

#[test]
fn an_answer_isn_t_lost_when_the_server_wants_no_more() {
    let answer = vec![7; 1 << 20];
    // RFC 9113, section 8.1; the caller's program writes on meanwhile.
    let words = Rules { last_words: Some(answer.clone().into()), ..rules() };
    let (web, _told) = calling(1, Way::Hbone, words);
    for _ in 0..20 {
        let mut caller = web.connect();
        caller.write_all(&[8; 100_000]).unwrap();
        assert!(read_to_end(&mut caller) == answer);
        // Its proxy listens for a while, or has ended the connection.
        let _in_vain = caller.write_all(b"in vain");
    }
    web.log.wait(|line| line["bytes_sent"] == answer.len() && line["flag"] == "-");
}

/// A stream to `port`, for bytes by hand.
fn opened(tunnel: &Tunnel, port: u16) -> Halves {
    let mut opened = PEERS.block_on(tunnel.open(&to(SocketAddr::new(CALLEE, port)))).unwrap();
    assert_eq!(opened.status.as_u16(), 200);
    opened.halves.take().unwrap()
}

/// Sends `count` frames of [`SMALL`] bytes each, as the windows allow.
async fn send_small(send: &mut SendStream<Bytes>, count: usize) -> Result<(), h2::Error> {
    for n in 0..count {
        send.reserve_capacity(SMALL);
        while send.capacity() < SMALL {
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(room) => room.map(|_| ())?,
                None => return Err(Reason::STREAM_CLOSED.into()),
            }
        }
        send.send_data(Bytes::from_static(&[5; SMALL]), false)?;
        if n % 32 == 0 {
            tokio::task::yield_now().await;
        }
    }
    send.send_data(Bytes::new(), true)
}

const SMALL: usize = 40;

#[test]
fn a_program_that_stalls_before_many_small_writes_ends_no_connection() {
    // Their overhead is above what `h2` bears by itself, their bytes are within the window.
    const FRAMES: usize = 70_000;
    let (listener, port) = program();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4 << 10).unwrap();
    let (_api, tunnel, _told) = called(Vec::new());
    let mut halves = opened(&tunnel, port);
    let mut callee = accept(&listener);
    PEERS.block_on(send_small(&mut halves.send, FRAMES)).unwrap();
    // Others get answers while it reads nothing.
    let elsewhere = to(format!("{CALLER}:{port}"));
    for _ in 0..100 {
        assert_eq!(status(&tunnel, &elsewhere), 400);
    }
    assert_eq!(read_to_end(&mut callee).len(), FRAMES * SMALL);
}

/// A wire on which what the caller says can be held back.
struct Gate {
    at: SocketAddr,
    held: Arc<Mutex<Option<Vec<u8>>>>,
    far: TcpStream,
}

impl Gate {
    /// For one connection.
    fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let far = TcpStream::connect(to).unwrap();
        let held: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
        let (holding, forward, mut back) = (held.clone(), far.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let (mut from, mut near) = (near.try_clone().unwrap(), near);
            std::thread::spawn(move || std::io::copy(&mut back, &mut near));
            let mut bytes = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                match &mut *holding.lock().unwrap() {
                    Some(held) => held.extend_from_slice(&bytes[..length]),
                    None => (&forward).write_all(&bytes[..length]).unwrap(),
                }
            }
        });
        Self { at, held, far }
    }

    fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    fn wait_for(&self, length: usize) {
        while self.held.lock().unwrap().as_ref().unwrap().len() < length {
            std::thread::yield_now();
        }
    }

    fn let_go(&self) {
        let mut held = self.held.lock().unwrap();
        (&self.far).write_all(&held.take().unwrap()).unwrap();
    }
}

#[test]
fn what_is_on_its_way_to_many_programs_that_broke_ends_no_connection() {
    // More streams than `h2` by itself remembers, and in all more errors than it bears of one connection.
    const STREAMS: usize = 95;
    const ROUNDS: usize = 16;
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let gate = Gate::to(api.mesh);
    let (tunnel, _told) = connect(&mesh, "web", gate.at, "api").unwrap();
    let (mut caller, mut callee) = (through(&tunnel, port), accept(&listener));
    for _ in 0..ROUNDS {
        let mut breaking: Vec<_> = (0..STREAMS).map(|_| (opened(&tunnel, port), accept(&listener))).collect();
        gate.hold();
        for (halves, _) in &mut breaking {
            halves.send.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
        // A frame's head has nine bytes.
        gate.wait_for(STREAMS * 10);
        for (mut halves, socket) in breaking {
            reset(socket);
            let ended = PEERS.block_on(halves.recv.data()).unwrap().unwrap_err();
            assert_eq!(ended.reason(), Some(Reason::CONNECT_ERROR));
        }
        gate.let_go();
    }
    caller.write_all(b"still").unwrap();
    callee.read_exact(&mut [0; 5]).unwrap();
    callee.write_all(b"here").unwrap();
    caller.read_exact(&mut [0; 4]).unwrap();
}
