//! FIN is END_STREAM, each direction for itself.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_hbone_peer::client::Tunnel;
use weft_hbone_peer::server::{Rules, pipe_tcp};

use crate::setup::{Server, program, tcp_pair, to};

/// A caller's socket, the program's, and the server, with a tunnel in between: it must outlive what is still on its way.
async fn tunnelled(test: &str) -> (TcpStream, TcpStream, Server, Tunnel) {
    let (listener, address) = program().await;
    let server = Server::start(test, Rules::default()).await;
    let tunnel = server.tunnel().await;
    let (caller, near) = tcp_pair().await;
    let mut opened = tunnel.open(&to(address)).await.unwrap();
    assert_eq!(opened.status, 200);
    assert!(opened.violations.is_empty());
    let halves = opened.halves.take().unwrap();
    tokio::spawn(async move {
        pipe_tcp(near, halves).await;
        drop(opened);
    });
    let (program, _) = listener.accept().await.unwrap();
    (caller, program, server, tunnel)
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut bytes)).await.expect("an end of stream").unwrap();
    bytes
}

async fn failure(stream: &mut TcpStream) -> std::io::Error {
    timeout(BOUND, stream.read(&mut [0; 1])).await.expect("a reset").unwrap_err()
}

/// A missing FIN or RST must fail a test and not hang it.
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_caller_that_has_finished_still_hears() {
    let (mut caller, mut program, mut server, _tunnel) = tunnelled("half-close-caller").await;
    caller.write_all(b"question").await.unwrap();
    caller.shutdown().await.unwrap();
    assert_eq!(rest(&mut program).await, b"question");
    program.write_all(b"answer, later").await.unwrap();
    program.shutdown().await.unwrap();
    assert_eq!(rest(&mut caller).await, b"answer, later");
    let stream = server.event("stream").await;
    assert_eq!((&stream["bytes_from_peer"], &stream["bytes_to_peer"]), (&8.into(), &13.into()));
    assert!(stream["why"].is_null(), "{stream}");
}

#[tokio::test]
async fn a_program_that_has_finished_still_hears() {
    let (mut caller, mut program, mut server, _tunnel) = tunnelled("half-close-program").await;
    program.write_all(b"greeting").await.unwrap();
    program.shutdown().await.unwrap();
    assert_eq!(rest(&mut caller).await, b"greeting");
    caller.write_all(b"after the end").await.unwrap();
    caller.shutdown().await.unwrap();
    assert_eq!(rest(&mut program).await, b"after the end");
    assert!(server.event("stream").await["why"].is_null());
}

#[tokio::test]
async fn a_program_s_reset_reaches_the_caller_as_a_reset() {
    let (mut caller, mut program, mut server, _tunnel) = tunnelled("reset-program").await;
    caller.write_all(b"question").await.unwrap();
    program.read_exact(&mut [0; 8]).await.unwrap();
    program.set_zero_linger().unwrap();
    drop(program);
    let error = failure(&mut caller).await;
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(server.event("stream").await["why"].as_str().unwrap().starts_with("plain side"));
}

#[tokio::test]
async fn a_caller_s_reset_reaches_the_program_as_a_reset() {
    let (mut caller, mut program, mut server, _tunnel) = tunnelled("reset-caller").await;
    caller.write_all(b"question").await.unwrap();
    program.read_exact(&mut [0; 8]).await.unwrap();
    caller.set_zero_linger().unwrap();
    drop(caller);
    let error = failure(&mut program).await;
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(server.event("stream").await["why"].as_str().unwrap().contains("CANCEL"));
}

#[tokio::test]
async fn more_than_all_windows_passes_both_ways_at_once() {
    let (caller, program, _server, _tunnel) = tunnelled("windows").await;
    let size = 24 << 20;
    let pattern: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
    let both = |stream: TcpStream, pattern: Vec<u8>| async move {
        let (mut reader, mut writer) = stream.into_split();
        let sent = pattern.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        writing.await.unwrap();
        bytes == pattern
    };
    let (near, far) = tokio::join!(both(caller, pattern.clone()), both(program, pattern));
    assert!(near && far);
}
