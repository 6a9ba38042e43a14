//! Bodies on their way, with no more held than one read's worth.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use weft_http::body::{BodyError, BodyReader};

use crate::side::{PLAIN, Side, poll_read};

/// Why a body ended early: its sender, its receiver, or what it says.
pub(super) enum BodyFault {
    From(io::Error),
    To(io::Error),
    Framing(BodyError),
}

/// Passes a body on until it is over and all of it was sent.
pub(super) fn poll_body(
    cx: &mut Context<'_>,
    body: &mut BodyReader,
    (from, to): (&mut Side, &mut Side),
    count: &Cell<u64>,
) -> Poll<Result<(), BodyFault>> {
    loop {
        // Nothing is read before everything went: that is the back-pressure.
        ready!(to.poll_send(cx)).map_err(BodyFault::To)?;
        if body.is_over() {
            return Poll::Ready(Ok(()));
        }
        let taken = body.take(from.bytes()).map_err(BodyFault::Framing)?;
        if taken.length > 0 {
            count.set(count.get() + taken.length as u64);
            to.send_now(cx, &from.bytes()[..taken.length]).map_err(BodyFault::To)?;
            from.consume(taken.length);
        } else if !taken.over && ready!(poll_move(cx, body, (from, to), count))? == 0 {
            body.end_of_stream().map_err(|error| BodyFault::From(io::Error::other(error)))?;
        }
    }
}

/// One read, and one write of what of it belongs to the body. Returns how much was read.
fn poll_move(
    cx: &mut Context<'_>,
    body: &mut BodyReader,
    (from, to): (&mut Side, &mut Side),
    count: &Cell<u64>,
) -> Poll<Result<usize, BodyFault>> {
    if !from.bytes().is_empty() {
        return from.poll_fill(cx).map_err(BodyFault::From);
    }
    PLAIN.with_borrow_mut(|plain| {
        let bytes = ready!(poll_read(cx, &mut from.stream, plain)).map_err(BodyFault::From)?;
        let taken = body.take(bytes).map_err(BodyFault::Framing)?.length;
        from.keep(&bytes[taken..]);
        if taken > 0 {
            count.set(count.get() + taken as u64);
            to.send_now(cx, &bytes[..taken]).map_err(BodyFault::To)?;
        }
        Poll::Ready(Ok(bytes.len()))
    })
}
