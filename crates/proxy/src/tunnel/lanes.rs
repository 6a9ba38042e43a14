//! The lane to one endpoint, and its streams that wait for another exchange.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::time::Instant;

use crate::dialling::Dialling;
use crate::lane::{Driver, Lane, LaneStream};
use crate::limits::WARM_IDLE;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;

/// The lane of one endpoint.
#[derive(Default)]
pub(super) struct Lanes {
    lane: RefCell<Option<Lane>>,
    waiting: RefCell<VecDeque<(LaneStream, Instant)>>,
    pub(super) dialling: Dialling,
}

impl Lanes {
    /// A stream of the lane; `None` when there is no lane, or all its streams are in use.
    pub(super) fn stream(&self) -> Option<LaneStream> {
        while let Some((stream, _)) = self.waiting.borrow_mut().pop_back() {
            if stream.is_quiet() {
                return Some(stream);
            }
        }
        self.lane.borrow().as_ref()?.open()
    }

    /// Whether there is a lane, though its streams may all be in use.
    pub(super) fn is_living(&self) -> bool {
        self.lane.borrow().as_ref().is_some_and(Lane::is_living)
    }

    /// Makes a lane of a new connection, and the first stream of it.
    pub(super) fn begin(&self, tunnel: Box<TlsStream>, head: Vec<u8>) -> LaneStream {
        let (lane, stream, driver) = Driver::calling(Stream::Tls(tunnel), head);
        tokio::task::spawn_local(driver.run());
        *self.lane.borrow_mut() = Some(lane);
        stream
    }

    /// Keeps a stream whose exchange ended cleanly at both sides.
    pub(super) fn give_back(&self, stream: LaneStream) {
        self.waiting.borrow_mut().push_back((stream, Instant::now()));
    }

    /// Nobody takes any more; the lane ends after the streams that are in use.
    pub(super) fn clear(&self) {
        self.waiting.borrow_mut().clear();
        *self.lane.borrow_mut() = None;
    }

    /// Gives up what has waited too long. Returns whether anything is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        self.waiting
            .borrow_mut()
            .retain(|(stream, since)| stream.is_quiet() && now.saturating_duration_since(*since) < WARM_IDLE);
        self.lane.borrow_mut().take_if(|lane| !lane.is_living() || lane.is_unused());
        self.lane.borrow().is_some()
    }
}
