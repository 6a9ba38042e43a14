//! Flow control of HTTP/2 through a pair: who doesn't read slows whoever sends to it, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::sync::mpsc;

use crate::harness::*;
use crate::programs::*;

/// Sends until nothing more is taken for a while, and more than a first window was; returns how much.
async fn fill(to: &mut h2::SendStream<Bytes>, piece: usize) -> usize {
    let (mut sent, mut quiet) = (0, 0);
    // A machine that stood still looks quiet once.
    while quiet < 2 || sent <= FIRST_WINDOW {
        let Ok(room) = tokio::time::timeout(Duration::from_secs(1), grant(to, piece)).await else {
            quiet += 1;
            continue;
        };
        let length = room.unwrap().min(piece);
        to.send_data(Bytes::from(vec![7; length]), false).unwrap();
        (sent, quiet) = (sent + length, 0);
        assert!(sent < BOUND, "{sent} bytes were taken of which none was read");
    }
    sent
}

/// What HTTP/2 lets everybody send unasked (RFC 9113, section 6.9.2), and a byte.
const FIRST_WINDOW: usize = 64 << 10;

/// Windows and buffers of the four connections between two programs, and some.
const BOUND: usize = 8 << 20;

/// A server that sends its own head, then reads its stream only when told to.
fn reads_when_told() -> (Program, mpsc::UnboundedSender<()>) {
    let (tell, told) = mpsc::unbounded_channel();
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let manners = Manners { window: Some(256 << 10), ..Default::default() };
    let program = Program::at(program().0, manners, move |(request, mut respond)| {
        let told = told.clone();
        Box::pin(async move {
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            let mut content = request.into_body();
            if content.is_end_stream() {
                return back.send_data(Bytes::new(), true).unwrap();
            }
            told.lock().await.recv().await.unwrap();
            let length = read_content(&mut content).await.unwrap().len();
            back.send_data(Bytes::from(length.to_string()), true).unwrap();
        })
    });
    (program, tell)
}

#[test]
fn a_callee_that_does_not_read_slows_its_caller_and_nobody_else() {
    let (program, tell) = reads_when_told();
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let mut stalled = Vec::new();
        for _ in 0..3 {
            let (response, mut content) = open(&client, "/").await;
            let sent = fill(&mut content, 16 << 10).await;
            stalled.push((response, content, sent));
        }
        // Others pass on the same connections meanwhile.
        for _ in 0..10 {
            assert_eq!(ask(&client, request("/"), "").await.unwrap().head.status(), 200);
        }
        for (response, mut content, sent) in stalled {
            content.send_data(Bytes::new(), true).unwrap();
            tell.send(()).unwrap();
            let answer = read(response.await.unwrap()).await.unwrap();
            assert_eq!(answer.body, sent.to_string());
        }
    });
    // One for each that stalls, and one for the others.
    assert_eq!(program.connections(), 4);
}

#[test]
fn a_program_whose_window_is_used_up_serves_others() {
    // A default server bears as much of all streams as of one.
    let stalls = Program::start(|(mut request, mut respond)| {
        Box::pin(async move {
            let first = request.body_mut().data().await.unwrap().unwrap();
            if first.len() < 10 {
                return drop(respond.send_response(Response::new(()), true).unwrap());
            }
            // It reads no more, and grants nothing anew.
            std::future::pending::<()>().await;
        })
    });
    let (web, _api) = http2_pair(stalls.port);
    run(async {
        let stalled = client(web.outbound).await;
        let (_response, mut content) = open(&stalled, "/").await;
        fill(&mut content, 16 << 10).await;
        let other = client(web.outbound).await;
        for _ in 0..10 {
            assert_eq!(ask(&other, request("/"), "small").await.unwrap().head.status(), 200);
        }
    });
    assert_eq!(stalls.connections(), 2);
}

#[test]
fn many_tiny_frames_are_held_without_harm() {
    let (program, tell) = reads_when_told();
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        // Each byte in a frame of its own, unread until all have come.
        const FRAMES: usize = 200_000;
        for _ in 0..FRAMES {
            grant(&mut content, 1).await.unwrap();
            content.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
        content.send_data(Bytes::new(), true).unwrap();
        assert_eq!(ask(&client, request("/"), "").await.unwrap().head.status(), 200);
        tell.send(()).unwrap();
        assert_eq!(read(response.await.unwrap()).await.unwrap().body, FRAMES.to_string());
    });
}

#[test]
fn a_caller_that_does_not_read_slows_its_callee() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let program = Program::start(move |(_, mut respond)| {
        let tell = tell.clone();
        Box::pin(async move {
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            let sent = fill(&mut back, 16 << 10).await;
            tell.send(sent).unwrap();
            back.send_data(Bytes::new(), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, _content) = open(&client, "/").await;
        let response = response.await.unwrap();
        let sent = told.recv().await.unwrap();
        assert_eq!(read(response).await.unwrap().body.len(), sent);
    });
}

#[test]
fn a_large_transfer_is_not_held() {
    const BYTES: usize = 64 << 20;
    let arrived = Arc::new(AtomicUsize::new(0));
    let seen = arrived.clone();
    let program = Program::start(move |(request, mut respond)| {
        let arrived = arrived.clone();
        Box::pin(async move {
            let mut content = request.into_body();
            while let Some(piece) = content.data().await {
                let length = piece.unwrap().len();
                arrived.fetch_add(length, Ordering::SeqCst);
                content.flow_control().release_capacity(length).unwrap();
            }
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        let piece = Bytes::from(vec![7; 1 << 20]);
        for sent in (piece.len()..=BYTES).step_by(piece.len()) {
            send_all(&mut content, piece.clone()).await.unwrap();
            let held = sent - seen.load(Ordering::SeqCst);
            assert!(held < BOUND, "{held} bytes are on their way");
        }
        content.send_data(Bytes::new(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
    });
    assert_eq!(seen.load(Ordering::SeqCst), BYTES);
}
