//! A lane of `weft/1`: one connection between two proxies that many exchanges share, so that what
//! is ready in one turn of the loop goes in one write. A stream of it is used like a connection of
//! its own. Knows bytes and frames, not what they mean.

mod driver;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use weft_wire::frame::{Event, Frame};

pub(crate) use driver::Driver;
pub(crate) use stream::LaneStream;
use stream::Slot;

use crate::limits::LANE_CALLER_STREAMS;

/// The caller's right to open streams.
pub(crate) struct Lane(Rc<Shared>);

/// A stream number after which a lane opens no more: those that are open may still take one each.
const LAST_STREAM: u32 = u32::MAX - LANE_CALLER_STREAMS as u32;

/// What the streams of a lane and its driver share.
#[derive(Default)]
struct Shared {
    slots: RefCell<HashMap<u32, Rc<Slot>>>,
    /// How many streams somebody holds.
    held: Cell<usize>,
    /// The last number that a stream has.
    last: Cell<u32>,
    /// Frames that wait to be sent.
    out: RefCell<Vec<u8>>,
    driver: Cell<Option<Waker>>,
    /// Those who wait until more frames may wait.
    crowd: RefCell<Vec<Waker>>,
    /// The connection is over.
    over: Cell<bool>,
    /// It ends when no stream is held any more.
    retired: Cell<bool>,
}

/// How a lane ended.
enum Over {
    /// The peer said so, after it had served all that it had read.
    Clean,
    /// It broke.
    Broken(Rc<io::Error>),
}

impl Lane {
    /// A stream on which nothing was said yet; `None` when there are too many, or the lane ends.
    pub(crate) fn open(&self) -> Option<LaneStream> {
        let shared = &self.0;
        if !self.is_living() || shared.held.get() >= LANE_CALLER_STREAMS {
            return None;
        }
        Some(shared.open())
    }

    /// Whether streams can be opened, but for their number.
    pub(crate) fn is_living(&self) -> bool {
        !self.0.over.get() && !self.0.retired.get() && self.0.last.get() < LAST_STREAM
    }

    /// Whether nobody holds a stream.
    pub(crate) fn is_unused(&self) -> bool {
        self.0.held.get() == 0
    }
}

/// Streams that are open go on; the connection ends after them.
impl Drop for Lane {
    fn drop(&mut self) {
        self.0.retired.set(true);
        self.0.wake();
    }
}

impl Shared {
    /// A stream that has no number yet.
    fn open(self: &Rc<Self>) -> LaneStream {
        self.held.set(self.held.get() + 1);
        LaneStream::new(self.clone())
    }

    fn number(&self, id: u32, slot: Rc<Slot>) {
        self.last.set(id);
        self.slots.borrow_mut().insert(id, slot);
    }

    fn slot(&self, id: u32) -> Option<Rc<Slot>> {
        self.slots.borrow().get(&id).cloned()
    }

    /// Puts a frame behind those that wait.
    fn say(&self, stream: u32, event: Event<'_>) {
        Frame { stream, event }.encode(&mut self.out.borrow_mut());
        self.wake();
    }

    fn wake(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// The connection is over, and with it all streams.
    fn end(&self, over: Over) {
        self.over.set(true);
        for slot in self.slots.take().into_values() {
            match &over {
                // One that had ended already stays so.
                Over::Clean => drop(slot.end()),
                Over::Broken(error) => slot.fail(error.clone()),
            }
        }
        self.crowd.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
