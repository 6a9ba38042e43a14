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

use crate::limits::{HBONE_PING_INTERVAL, HBONE_PING_WAIT};

/// The ALPN protocol name of HBONE.
pub(crate) const ALPN: &[u8] = b"h2";

/// Asks now and then whether the peer is still there. Returns why it isn't; else never.
async fn keep_alive(pings: Option<PingPong>) -> String {
    // They can be taken once, and nobody else takes them.
    let Some(mut pings) = pings else { return pending().await };
    loop {
        sleep(HBONE_PING_INTERVAL).await;
        match timeout(HBONE_PING_WAIT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_pong)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer to a PING within {} s", HBONE_PING_WAIT.as_secs()),
        }
    }
}

/// Tells a refused caller the cause in one word.
const ERROR_HEADER: &str = "weft-error";
