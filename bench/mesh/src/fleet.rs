//! Simulated proxies: for each the real proxy's control thread, which asks for its certificate, its
//! records and those of the services that its program calls, and acknowledges them. What it would hand
//! to its data thread arrives here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use weft_proxy::config::ControlConfig;
use weft_proxy::records::{Order, Update};
use weft_proxy::report::{self, DataEnd};
use weft_proxy::{control, limits};

use crate::api::{Failure, Outcome};

/// One proxy to be: what its control thread is told, and which addresses its program calls.
pub(crate) struct Member {
    pub(crate) control: ControlConfig,
    pub(crate) calls: Vec<IpAddr>,
}

/// Something that a proxy was told.
pub(crate) struct Arrival {
    pub(crate) proxy: usize,
    pub(crate) at: Instant,
    pub(crate) update: Update,
}

/// What some proxies are to be told because of one change.
pub(crate) struct Expected {
    pub(crate) proxies: Vec<usize>,
    /// When the change was sent to the API server.
    pub(crate) since: Instant,
    pub(crate) holds: Box<dyn Fn(&Update) -> bool>,
}

/// How it arrived.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// For each change, how long until the last proxy had it.
    pub(crate) last: Vec<Duration>,
    /// The proxies that were told anything.
    pub(crate) touched: BTreeSet<usize>,
}

/// Proxies that run until this is dropped.
pub(crate) struct Fleet {
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    /// The data threads' ends.
    _ends: Vec<(mpsc::UnboundedSender<Order>, DataEnd)>,
}

impl Fleet {
    /// Starts them all at once.
    pub(crate) fn start(members: Vec<Member>) -> Outcome<Self> {
        let (told, arrivals) = mpsc::unbounded_channel();
        let mut ends = Vec::new();
        for (proxy, member) in members.into_iter().enumerate() {
            let (updates, taken) = mpsc::channel(limits::UPDATES);
            let (orders, asked) = mpsc::unbounded_channel();
            let (reports, signals) = report::channel();
            for address in member.calls {
                // The other end is here.
                let _sent = orders.send(Order::Subscribe(address.to_string()));
            }
            control::spawn(member.control, (updates, asked), reports)
                .map_err(|error| Failure::new("a proxy's control thread", error))?;
            tokio::spawn(forward(proxy, taken, told.clone()));
            ends.push((orders, signals));
        }
        Ok(Self { arrivals, _ends: ends })
    }

    /// Waits until all that is expected has arrived, and a moment longer for what isn't.
    pub(crate) async fn watch(&mut self, expected: &[Expected]) -> Outcome<Seen> {
        let mut open: Vec<BTreeSet<usize>> =
            expected.iter().map(|change| change.proxies.iter().copied().collect()).collect();
        let mut seen = Seen { last: vec![Duration::ZERO; expected.len()], touched: BTreeSet::new() };
        loop {
            let is_done = open.iter().all(BTreeSet::is_empty);
            let wait = if is_done { QUIET } else { PATIENCE };
            match timeout(wait, self.arrivals.recv()).await {
                Ok(Some(arrival)) => note(&arrival, (expected, &mut open), &mut seen),
                Ok(None) => return Err(Failure::new("the proxies", "all have ended")),
                Err(_) if is_done => return Ok(seen),
                Err(_) => return Err(missing(&open)),
            }
        }
    }
}

fn note(arrival: &Arrival, (expected, open): (&[Expected], &mut [BTreeSet<usize>]), seen: &mut Seen) {
    seen.touched.insert(arrival.proxy);
    for (at, change) in expected.iter().enumerate() {
        if open[at].contains(&arrival.proxy) && (change.holds)(&arrival.update) {
            open[at].remove(&arrival.proxy);
            seen.last[at] = seen.last[at].max(arrival.at.duration_since(change.since));
        }
    }
}

fn missing(open: &[BTreeSet<usize>]) -> Failure {
    let count: usize = open.iter().map(BTreeSet::len).sum();
    let first = open.iter().flatten().next().copied().unwrap_or_default();
    Failure::new(
        "the proxies",
        format!("{count} updates didn't arrive within {PATIENCE:?}, the first at proxy {first}"),
    )
}

async fn forward(proxy: usize, mut updates: mpsc::Receiver<Update>, told: mpsc::UnboundedSender<Arrival>) {
    while let Some(update) = updates.recv().await {
        if told.send(Arrival { proxy, at: Instant::now(), update }).is_err() {
            return;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
/// For so long nothing arrives after a change before the next is made.
const QUIET: Duration = Duration::from_millis(250);
