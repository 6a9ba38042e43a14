//! How streams and connections end: GOAWAY amid traffic, resets of every kind, and what of it one
//! program's trouble may do to others on the same connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::{Reason, SendStream};
use weft_hbone_peer::client::Tunnel;
use weft_hbone_peer::pipe::Halves;
use weft_hbone_peer::server::Rules;
use weft_mesh::record::Tunnel as Way;

use super::callee::{called, status, through};
use super::caller::{calling, rules};
use super::peer::{PEERS, to};
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
        caller.write_all(b"in vain").unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
    }
    web.log.wait(|line| line["bytes_sent"] == answer.len() && line["flag"] == "-");
}

/// A stream to `port`, for bytes by hand.
fn opened(tunnel: &Tunnel, port: u16) -> Halves {
    let mut opened = PEERS.block_on(tunnel.open(&to(SocketAddr::new(CALLEE, port)))).unwrap();
    assert_eq!(opened.status.as_u16(), 200);
    opened.halves.take().unwrap()
}

/// Sends `count` frames of [`SMALL`] bytes each, as the windows allow, and counts them.
async fn send_small(send: &mut SendStream<Bytes>, count: usize, sent: &AtomicUsize) -> Result<(), h2::Error> {
    for n in 0..count {
        send.reserve_capacity(SMALL);
        while send.capacity() < SMALL {
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(room) => room.map(|_| ())?,
                None => return Err(Reason::STREAM_CLOSED.into()),
            }
        }
        send.send_data(Bytes::from_static(&[5; SMALL]), false)?;
        sent.fetch_add(1, Ordering::SeqCst);
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
    let sent = AtomicUsize::new(0);
    PEERS.block_on(send_small(&mut halves.send, FRAMES, &sent)).unwrap();
    // Others get answers while it reads nothing.
    let elsewhere = to(format!("{CALLER}:{port}"));
    for _ in 0..100 {
        assert_eq!(status(&tunnel, &elsewhere), 400);
    }
    assert_eq!(read_to_end(&mut callee).len(), FRAMES * SMALL);
}

#[test]
fn many_programs_that_break_at_once_end_no_connection() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called(Vec::new());
    let (mut caller, mut callee) = (through(&tunnel, port), accept(&listener));
    let breaking = (0..70).map(|_| {
        let mut halves = opened(&tunnel, port);
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let sending = PEERS.spawn(async move { send_small(&mut halves.send, 500, &counted).await });
        (accept(&listener), (sending, sent))
    });
    let (sockets, sendings): (Vec<_>, Vec<_>) = breaking.unzip();
    for (_, sent) in &sendings {
        while sent.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    }
    sockets.into_iter().for_each(reset);
    for (sending, _) in sendings {
        // One or the other had said all by then.
        let _broken = PEERS.block_on(sending).unwrap();
    }
    caller.write_all(b"still").unwrap();
    callee.read_exact(&mut [0; 5]).unwrap();
    callee.write_all(b"here").unwrap();
    caller.read_exact(&mut [0; 4]).unwrap();
}
