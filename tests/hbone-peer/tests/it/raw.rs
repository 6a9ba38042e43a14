//! What `h2` as a client can't be brought to send: frames written by hand.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use weft_hbone_peer::server::{Caller, Rules, connection};

use crate::certificates::CLIENT;
use crate::setup::channel;

/// Sends one head, which ends its stream; returns the answering frames' kinds and what the server told, in order.
async fn send(fields: &[(&str, &str)]) -> (Vec<u8>, Vec<Value>) {
    let (near, mut far) = duplex(1 << 16);
    let (events, mut received) = channel();
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let caller =
        Caller { peer: (local, 1).into(), local, ids: vec![CLIENT.into()], rules: Arc::new(Rules::default()), events };
    let serving = tokio::spawn(async move { connection(near, Arc::new(caller)).await });
    far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    far.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    far.write_all(&frame(1, 5, 1, &block(fields))).await.unwrap();
    let mut kinds = Vec::new();
    // HEADERS (1) or RST_STREAM (3) is the answer; SETTINGS and others come before.
    while !kinds.last().is_some_and(|kind| [1, 3].contains(kind)) {
        let mut head = [0; 9];
        far.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        far.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
    }
    drop(far);
    serving.await.unwrap().unwrap();
    let mut told = Vec::new();
    while let Ok(event) = received.try_recv() {
        told.push(event);
    }
    (kinds, told)
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// HPACK, literals without indexing, no Huffman code (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

#[tokio::test]
async fn a_connect_with_scheme_or_path_is_refused_and_told() {
    let right = [(":method", "CONNECT"), (":authority", "127.0.0.1:1")];
    for wrong in [(":scheme", "https"), (":path", "/")] {
        let (kinds, told) = send(&[right[0], right[1], wrong]).await;
        assert_eq!(kinds.last(), Some(&3), "{wrong:?}");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["violations"][0], "1 heads were malformed, or beyond 200 streams");
    }
}

#[tokio::test]
async fn a_connect_by_hand_is_judged_like_any_other() {
    let (kinds, told) = send(&[(":method", "CONNECT"), (":authority", "127.0.0.1:1")]).await;
    assert_eq!(kinds.last(), Some(&1));
    let stream = told.iter().find(|event| event["event"] == "stream").unwrap();
    assert_eq!((&stream["status"], &stream["violations"]), (&503.into(), &serde_json::json!([])));
}

#[tokio::test]
async fn extended_connect_is_refused() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "127.0.0.1:1"),
    ];
    let (_, told) = send(&fields).await;
    let violations: Vec<String> = told.iter().map(|event| event["violations"].to_string()).collect();
    assert!(violations.iter().any(|text| text.contains(":protocol") || text.contains("malformed")), "{told:?}");
}
