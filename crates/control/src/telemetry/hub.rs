//! Where telemetry meets: the aggregate, what each proxy last told of itself, and who watches. One
//! lock, held for a change and never across a wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use weft_mesh::WorkloadId;
use weft_wire::proto::weft::v1::{
    Edge, Health, Leaf, Party, Reporter, Series, Signals, StatRow, TapEvents, TapFilter, Watch,
};

use super::aggregate::{Age, Aggregate};
use super::tap::Taps;
use super::{edges, exposition, stat};

/// Handed to every task; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    state: Mutex<State>,
    /// What proxies are asked for.
    watch: watch::Sender<Watch>,
    /// Rings when a proxy has answered a flush, or has gone.
    answered: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    aggregate: Aggregate,
    streams: BTreeMap<u64, Stream>,
    last_stream: u64,
    taps: Taps,
}

/// A proxy that reports.
#[derive(Debug)]
struct Stream {
    workload: WorkloadId,
    /// How labels name its workload.
    own: Party,
    /// The aggregate's numbers of its series.
    numbers: HashMap<u32, u32>,
    /// Its open connections by its own ids.
    open: HashMap<u32, u64>,
    health: Option<Health>,
    leaf: Option<Leaf>,
    flushed: u64,
}

/// What a proxy last told of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) health: Option<Health>,
    pub(crate) leaf: Option<Leaf>,
}

/// Why a report ends its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// More series than a proxy keeps.
    #[error("expected at most {MAX_STREAM_SERIES} series of one proxy")]
    TooMany,
    /// A delta without its labels.
    #[error("expected the labels of series {0} before its counts")]
    Unnamed(u32),
}

/// A proxy's stream; it ends when dropped.
pub(crate) struct Reporting {
    hub: Hub,
    id: u64,
}

/// Somebody's watch over calls; it ends when dropped.
pub(crate) struct Tapping {
    hub: Hub,
    number: u64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let watch = watch::Sender::new(Watch { interval_ms: REST_INTERVAL_MS, ..Watch::default() });
        let state = Mutex::default();
        Self(Arc::new(Inner { began: Instant::now(), state, watch, answered: watch::Sender::default() }))
    }

    /// The proxy of a workload of this service begins to report.
    pub(crate) fn report(&self, workload: &WorkloadId, service: String) -> Reporting {
        let own = Party {
            workload: workload.name().to_owned(),
            namespace: workload.namespace().to_owned(),
            app: service,
            principal: String::new(),
        };
        let mut state = self.lock();
        state.last_stream += 1;
        let stream = Stream {
            workload: workload.clone(),
            own,
            numbers: HashMap::new(),
            open: HashMap::new(),
            health: None,
            leaf: None,
            flushed: 0,
        };
        let id = state.last_stream;
        state.streams.insert(id, stream);
        Reporting { hub: self.clone(), id }
    }

    /// What proxies are asked for, as it changes.
    pub(crate) fn watched(&self) -> watch::Receiver<Watch> {
        self.0.watch.subscribe()
    }

    /// Golden signals of services; see [`stat::rows`].
    pub(crate) fn stat(&self, window: Duration) -> (Vec<StatRow>, Duration) {
        let state = self.lock();
        stat::rows(&state.aggregate, &state.open(), (self.0.began.elapsed(), window))
    }

    /// Who calls whom; see [`edges::edges`].
    pub(crate) fn edges(&self, window: Duration) -> (Vec<Edge>, Duration) {
        let state = self.lock();
        edges::edges(&state.aggregate, &state.open(), (self.0.began.elapsed(), window))
    }

    /// The page for Prometheus.
    pub(crate) fn page(&self) -> String {
        let state = self.lock();
        let proxies = state.streams.values().filter_map(|s| Some((s.workload.to_string(), s.health.as_ref()?)));
        exposition::page(&state.aggregate, &proxies.collect())
    }

    /// What each proxy last told of itself. Of two streams of one workload the newer counts.
    pub(crate) fn told(&self) -> BTreeMap<WorkloadId, Told> {
        let state = self.lock();
        let told = |s: &Stream| (s.workload.clone(), Told { health: s.health.clone(), leaf: s.leaf.clone() });
        state.streams.values().map(told).collect()
    }

    /// Somebody watches calls; `None` when too many do.
    pub(crate) fn tap(&self, filter: TapFilter) -> Option<(Tapping, mpsc::Receiver<TapEvents>)> {
        let (number, events) = self.lock().taps.begin(filter)?;
        self.tell_taps();
        Some((Tapping { hub: self.clone(), number }, events))
    }

    /// Asks every proxy for what it has, and waits for the answers, though not for long.
    pub(crate) async fn flush(&self) {
        let mut answered = self.0.answered.subscribe();
        let mut number = 0;
        self.0.watch.send_modify(|watch| {
            watch.flush += 1;
            number = watch.flush;
        });
        let all = async {
            while self.lock().streams.values().any(|stream| stream.flushed < number) {
                // The sender lives in `self`: it can't be gone.
                let _ = answered.changed().await;
            }
        };
        // Who is late is told of the next time.
        let _late = timeout(FLUSH_TIMEOUT, all).await;
    }

    fn tell_taps(&self) {
        let (taps, is_empty) = {
            let state = self.lock();
            (state.taps.filters(), state.taps.is_empty())
        };
        self.0.watch.send_modify(|watch| {
            watch.interval_ms = if is_empty { REST_INTERVAL_MS } else { TAP_INTERVAL_MS };
            watch.taps = taps;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a pure change is a bug; the others go on with what is there.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporting {
    /// Takes in what the proxy tells.
    ///
    /// # Errors
    /// [`ReportError`]: the stream is to be ended. What came before the wrong part has been counted.
    pub(crate) fn take(&self, signals: Signals) -> Result<(), ReportError> {
        let now = self.hub.0.began.elapsed();
        let mut state = self.hub.lock();
        let State { aggregate, streams, taps, .. } = &mut *state;
        // It is removed only when `self` is dropped.
        let Some(stream) = streams.get_mut(&self.id) else { return Ok(()) };
        let age = if signals.late { Age::Late } else { Age::Fresh };
        for series in signals.series {
            if stream.numbers.len() >= MAX_STREAM_SERIES {
                return Err(ReportError::TooMany);
            }
            let id = series.id;
            let number = aggregate.number(stream.own_labels(series));
            stream.numbers.insert(id, number);
        }
        for delta in &signals.deltas {
            let number = *stream.numbers.get(&delta.id).ok_or(ReportError::Unnamed(delta.id))?;
            aggregate.add(now, number, delta, age);
            match delta.open {
                Some(0) => drop(stream.open.remove(&delta.id)),
                Some(open) => drop(stream.open.insert(delta.id, open)),
                None => {}
            }
        }
        stream.health = signals.health.or(stream.health.take());
        stream.leaf = signals.certificate.or(stream.leaf.take());
        taps.deliver(&signals.taps, signals.taps_dropped);
        if signals.flushed > stream.flushed {
            stream.flushed = signals.flushed;
            self.hub.0.answered.send_replace(());
        }
        Ok(())
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.hub.lock().streams.remove(&self.id);
        self.hub.0.answered.send_replace(());
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        self.hub.lock().taps.end(self.number);
        self.hub.tell_taps();
    }
}

impl State {
    /// Open connections by the aggregate's numbers.
    fn open(&self) -> HashMap<u32, u64> {
        let mut open = HashMap::new();
        for stream in self.streams.values() {
            for (id, count) in &stream.open {
                if let Some(number) = stream.numbers.get(id) {
                    *open.entry(*number).or_default() += count;
                }
            }
        }
        open
    }
}

impl Stream {
    /// Labels whose own side is what the token says, whatever the proxy says.
    fn own_labels(&self, mut series: Series) -> Series {
        let side = match series.reporter() {
            Reporter::Source => &mut series.source,
            Reporter::Destination => &mut series.destination,
        };
        let principal = side.take().map(|party| party.principal).unwrap_or_default();
        *side = Some(Party { principal, ..self.own.clone() });
        series
    }
}

/// How often proxies report while anything happens.
const REST_INTERVAL_MS: u32 = 5_000;
/// How often while somebody watches calls.
const TAP_INTERVAL_MS: u32 = 250;
/// How long a reader waits for proxies' answers.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// A proxy keeps fewer; see its table of limits.
const MAX_STREAM_SERIES: usize = 8_192;
