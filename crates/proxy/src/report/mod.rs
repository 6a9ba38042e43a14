//! Telemetry, the proxy's side: what has changed in the data thread's counters is told to the
//! control plane every few seconds, and calls as they end while somebody watches.
//!
//! ```text
//! data thread                               control thread
//! counters ── Reporter ── Snapshot ──> stream ──> control plane
//! calls ───── taps ──────────┘           │
//!                    ^────── Ask ────────┘
//! ```
//!
//! The data thread does nothing by itself: it answers, and at most rings once when it had been at
//! rest. It never waits for the control thread.

mod clause;
mod health;
mod label;
mod reporter;
mod route;
mod routed;
mod stream;
mod taps;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};
use weft_wire::proto::weft::v1::{Delta, Leaf, NumberedFilter, Series, TapEvent};

pub(crate) use reporter::{Reported, Reporter, answer};
pub(crate) use routed::Routed;
pub(crate) use stream::follow;
pub(crate) use taps::Watched;

/// The two ends of what data thread and control thread tell each other of signals.
pub fn channel() -> (ControlEnd, DataEnd) {
    let (asks, asked) = mpsc::channel(1);
    let (last, ending) = oneshot::channel();
    let touched = Arc::new(Notify::new());
    (ControlEnd { asks, touched: touched.clone(), last: ending }, DataEnd { asks: asked, touched, last })
}

/// The control thread's end.
pub struct ControlEnd {
    asks: mpsc::Sender<Ask>,
    /// Rings when something happens after a snapshot that said [`Activity::Resting`].
    touched: Arc<Notify>,
    /// What is left to tell when the data thread ends.
    last: oneshot::Receiver<Snapshot>,
}

/// The data thread's end. A proxy without a control plane drops the other end and is never asked.
pub struct DataEnd {
    asks: mpsc::Receiver<Ask>,
    touched: Arc<Notify>,
    last: oneshot::Sender<Snapshot>,
}

/// What the control thread asks of the data thread.
pub(crate) enum Ask {
    /// What has changed since the last snapshot.
    Snapshot(oneshot::Sender<Snapshot>),
    /// To look for these calls from now on.
    Watch(Vec<NumberedFilter>),
}

/// What has changed since the last snapshot.
pub(crate) struct Snapshot {
    series: Vec<Series>,
    deltas: Vec<Delta>,
    taps: Vec<TapEvent>,
    taps_dropped: u64,
    outbound_open: u64,
    inbound_open: u64,
    process: Vec<(&'static str, u64)>,
    activity: Activity,
}

/// Whether another snapshot would tell anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Something changed or is open.
    Busy,
    /// Nothing changed and nothing is open: a bell rings when that changes.
    Resting,
}

/// What the control thread's other tasks know and reports tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The certificate in use.
    pub leaf: Option<Leaf>,
    /// The version of the inbound record.
    pub inbound_version: String,
    /// How many destinations are known.
    pub destinations: usize,
}
