//! How long a connection between two proxies may lie unused.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep};

use crate::limits::INBOUND_IDLE;

/// The time that a connection may wait for its next head. One timer that is set again only when it
/// fires, and not for each exchange.
pub(super) struct Idle {
    timer: Pin<Box<Sleep>>,
    since: Instant,
}

impl Idle {
    pub(super) fn new() -> Self {
        Self { timer: Box::pin(sleep(INBOUND_IDLE)), since: Instant::now() }
    }

    /// It begins to wait.
    pub(super) fn touch(&mut self) {
        self.since = Instant::now();
    }

    /// Waits until it has waited for too long.
    pub(super) async fn passed(&mut self) {
        loop {
            self.timer.as_mut().await;
            let end = self.since + INBOUND_IDLE;
            if end <= Instant::now() {
                return;
            }
            self.timer.as_mut().reset(end);
        }
    }
}
