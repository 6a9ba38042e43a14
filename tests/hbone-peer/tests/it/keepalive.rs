//! PING every 10 s, and the end of a connection whose other side doesn't answer for 20 s. On a paused clock, in memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};
use weft_hbone_peer::client;
use weft_hbone_peer::server::{Caller, Rules, connection};

use crate::certificates::CLIENT;
use crate::setup::channel;

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

fn server(io: DuplexStream) -> UnboundedReceiver<Value> {
    let (events, received) = channel();
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let caller =
        Caller { peer: (local, 1).into(), local, ids: vec![CLIENT.into()], rules: Arc::new(Rules::default()), events };
    tokio::spawn(async move { connection(io, Arc::new(caller)).await });
    received
}

/// Reads and never answers.
fn mute(mut io: DuplexStream, greeting: Vec<u8>) {
    tokio::spawn(async move {
        io.write_all(&greeting).await.unwrap();
        let mut bytes = [0; 1024];
        while io.read(&mut bytes).await.is_ok_and(|filled| filled > 0) {}
    });
}

#[tokio::test(start_paused = true)]
async fn a_server_ends_a_mute_connection_after_30_s() {
    let (near, far) = duplex(1 << 16);
    let mut events = server(near);
    mute(far, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &SETTINGS].concat());
    let begin = Instant::now();
    let closed = events.recv().await.unwrap();
    assert_eq!(closed["why"], "no answer to a PING within 20 s");
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_ends_a_mute_connection_after_30_s() {
    let (near, far) = duplex(1 << 16);
    mute(far, SETTINGS.to_vec());
    let (events, mut received) = channel();
    let begin = Instant::now();
    let tunnel = client::handshake(near, events).await.unwrap();
    assert_eq!(received.recv().await.unwrap()["why"], "no answer to a PING within 20 s");
    assert_eq!(begin.elapsed().as_secs(), 30);
    drop(tunnel);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_answers_stays() {
    let (near, far) = duplex(1 << 16);
    let mut events = server(near);
    let (told, mut client_events) = channel();
    let tunnel = client::handshake(far, told).await.unwrap();
    sleep(Duration::from_secs(125)).await;
    assert!(events.try_recv().is_err() && client_events.try_recv().is_err());
    drop(tunnel);
    let closed = events.recv().await.unwrap();
    assert!(closed["why"].is_null(), "{closed}");
    assert!(closed["pings"].as_u64().unwrap() >= 12, "{closed}");
}
