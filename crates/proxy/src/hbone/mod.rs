//! HBONE, as Istio's ztunnel speaks it: on the mesh's port, under ALPN `h2`, a CONNECT stream of
//! HTTP/2 for each connection of a program, whose authority is the destination's address. Both sides
//! of it; TLS and its identities are those of `weft/1`. Knows no policy.

mod client;
mod head;
mod server;
mod stream;
mod watched;

use std::future::pending;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

pub(crate) use client::{Pool, Way, open};
pub(crate) use server::serve;
pub(crate) use stream::HboneStream;
use watched::Heard;

use crate::limits::{HBONE_PING_INTERVAL, HBONE_PING_WAIT};

/// The ALPN protocol name of HBONE.
pub(crate) const ALPN: &[u8] = b"h2";

/// Asks a peer of which nothing is heard whether it is still there. Returns why it isn't; else never.
///
/// Who is heard is never asked: `h2` reads nothing while it has a PING to send and its socket is full. Two
/// that send as fast as they can and ask each other at the same time would wait for each other, then.
async fn keep_alive(pings: Option<PingPong>, heard: Heard) -> String {
    // They can be taken once, and nobody else takes them.
    let Some(mut pings) = pings else { return pending().await };
    loop {
        sleep(HBONE_PING_INTERVAL).await;
        if heard.replace(false) {
            continue;
        }
        match timeout(HBONE_PING_WAIT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_pong)) => heard.set(false),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer to a PING within {} s", HBONE_PING_WAIT.as_secs()),
        }
    }
}

/// Tells a refused caller the cause in one word.
const ERROR_HEADER: &str = "weft-error";

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// PINGs among the frames that follow the client's preface (RFC 9113, sections 3.4, 4.1 and 6.7).
    fn pings(bytes: &[u8]) -> usize {
        let (mut rest, mut count) = (&bytes[24..], 0);
        while let [a, b, c, kind, _flags, _, _, _, _, ..] = *rest {
            count += usize::from(kind == 6);
            rest = &rest[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_is_silent_is_asked() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (_requests, mut connection) = h2::client::Builder::new().handshake::<_, Bytes>(near).await.unwrap();
        let (heard, said) = (Heard::default(), RefCell::new(Vec::new()));
        let asking = keep_alive(connection.ping_pong(), heard.clone());
        let listening = async {
            let mut piece = [0; 256];
            while let Ok(length) = far.read(&mut piece).await {
                said.borrow_mut().extend_from_slice(&piece[..length]);
            }
        };
        let speaking = async {
            sleep(HBONE_PING_INTERVAL / 2).await;
            for _ in 0..5 {
                heard.set(true);
                sleep(HBONE_PING_INTERVAL).await;
            }
            assert_eq!(pings(&said.borrow()), 0, "it was heard all the time");
            pending().await
        };
        let why = tokio::select! {
            why = asking => why,
            _ = connection => panic!("the connection ended"),
            () = listening => panic!("the connection ended"),
            () = speaking => panic!("nobody was asked"),
        };
        assert!(why.contains("no answer to a PING"), "{why}");
        assert_eq!(pings(&said.borrow()), 1);
    }
}
