//! Keepalive by HTTP/2 PING: one each interval, and an end when an answer stays out.

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::limits::{PING_INTERVAL, PING_TIMEOUT};

/// Returns when the connection is dead, with the reason; else never.
pub(crate) async fn keep_alive(pings: Option<PingPong>) -> String {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_answer)) => {}
            Ok(Err(why)) => return format!("ping: {why}"),
            Err(_) => return format!("no answer to a PING within {} s", PING_TIMEOUT.as_secs()),
        }
    }
}
