//! Where telemetry meets: the aggregate, what each proxy last told of itself, and who watches. One
//! lock, held for a change and never across a wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use weft_compile::Owner;
use weft_mesh::WorkloadId;
use weft_wire::proto::weft::v1::{
    Edge, Health, Leaf, NumberedFilter, Party, Reporter, Resource, Series, Signals, StatRow, TapEvents, TapFilter,
    Traffic, Watch,
};

use super::aggregate::{Age, Aggregate};
use super::near::Near;
use super::resource::{self, Other, POD, Place};
use super::stat::Count;
use super::sums::Sums;
use super::tap::Taps;
use super::{edges, exposition, stat};
use crate::limits::FLUSH_TIMEOUT;

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
    /// The numbers of its series: the aggregate's, and its pod's own.
    numbers: HashMap<u32, Numbers>,
    near: Near,
    /// Its open connections by its own ids.
    open: HashMap<u32, u64>,
    health: Option<Health>,
    leaf: Option<Leaf>,
    flushed: u64,
    /// When it last told anything.
    seen: SystemTime,
}

#[derive(Debug, Clone, Copy)]
struct Numbers {
    whole: u32,
    near: u32,
}

/// What a cluster knows of a workload whose proxy reports, and that proxies don't.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) service: String,
    pub(crate) owner: Option<Owner>,
}

/// Who made the workloads that a report names.
pub(crate) type Owners = HashMap<WorkloadId, Owner>;

/// What a proxy last told of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) health: Option<Health>,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) seen: Option<SystemTime>,
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

    /// The proxy of a workload begins to report.
    pub(crate) fn report(&self, workload: &WorkloadId, known: Known) -> Reporting {
        let mut own = Party {
            workload: workload.name().to_owned(),
            namespace: workload.namespace().to_owned(),
            app: known.service,
            ..Party::default()
        };
        if let Some(owner) = known.owner {
            (own.workload, own.kind) = (owner.name, owner.kind);
        }
        let mut state = self.lock();
        state.last_stream += 1;
        let stream = Stream {
            workload: workload.clone(),
            own,
            numbers: HashMap::new(),
            near: Near::default(),
            open: HashMap::new(),
            health: None,
            leaf: None,
            flushed: 0,
            seen: SystemTime::now(),
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

    /// Golden signals of resources; see [`resource::traffic`].
    pub(crate) fn traffic(
        &self,
        asked: &Resource,
        other: &Other,
        window: Duration,
    ) -> (BTreeMap<Place, Traffic>, Duration) {
        self.counted(&asked.kind, window, |counts| resource::traffic(counts, asked, other))
    }

    /// Who calls whom, as resources; see [`resource::edges`].
    pub(crate) fn resource_edges(&self, asked: &Resource, window: Duration) -> (Vec<Edge>, Duration) {
        self.counted(&asked.kind, window, |counts| resource::edges(counts, asked))
    }

    /// The counts that tell of resources of a kind, and what they cover.
    fn counted<T>(&self, kind: &str, window: Duration, read: impl FnOnce(&[Count<'_>]) -> T) -> (T, Duration) {
        let state = self.lock();
        let times = (self.0.began.elapsed(), window);
        if kind != POD {
            let open = state.open();
            let (counts, covered) = stat::counted(&state.aggregate, &open, times);
            return (read(&counts), covered);
        }
        let (mut counts, mut covered) = (Vec::new(), Duration::ZERO);
        for stream in state.streams.values() {
            let (more, reach) = stream.near.counts(&stream.open_near(), times);
            counts.extend(more);
            covered = covered.max(reach);
        }
        (read(&counts), covered)
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
        let told = |s: &Stream| {
            let told = Told { health: s.health.clone(), leaf: s.leaf.clone(), seen: Some(s.seen) };
            (s.workload.clone(), told)
        };
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
    pub(crate) fn take(&self, signals: Signals, owners: &Owners) -> Result<(), ReportError> {
        let now = self.hub.0.began.elapsed();
        let mut state = self.hub.lock();
        let State { aggregate, streams, taps, .. } = &mut *state;
        // It is removed only when `self` is dropped.
        let Some(stream) = streams.get_mut(&self.id) else { return Ok(()) };
        stream.seen = SystemTime::now();
        let age = if signals.late { Age::Late } else { Age::Fresh };
        for series in signals.series {
            if stream.numbers.len() >= MAX_STREAM_SERIES {
                return Err(ReportError::TooMany);
            }
            let id = series.id;
            let labels = stream.own_labels(series);
            let near = stream.near.number(&labels, stream.workload.name());
            stream.numbers.insert(id, Numbers { whole: aggregate.number(made(labels, owners)), near });
        }
        for delta in &signals.deltas {
            let numbers = *stream.numbers.get(&delta.id).ok_or(ReportError::Unnamed(delta.id))?;
            aggregate.add(now, numbers.whole, delta, age);
            let sums = Sums::of(delta);
            if age == Age::Fresh && sums != Sums::default() {
                stream.near.add(now, numbers.near, &sums);
            }
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
                if let Some(numbers) = stream.numbers.get(id) {
                    *open.entry(numbers.whole).or_default() += count;
                }
            }
        }
        open
    }
}

impl Stream {
    /// Open connections by its pod's own numbers.
    fn open_near(&self) -> HashMap<u32, u64> {
        let mut open = HashMap::new();
        for (id, count) in &self.open {
            if let Some(numbers) = self.numbers.get(id) {
                *open.entry(numbers.near).or_default() += count;
            }
        }
        open
    }

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

/// What one proxy is asked for: it looks for calls only where `concerns` says so.
pub(crate) fn meant(mut watch: Watch, concerns: impl Fn(&Resource) -> bool) -> Watch {
    let resource = |numbered: &NumberedFilter| numbered.filter.as_ref().and_then(|filter| filter.resource.clone());
    watch.taps.retain(|numbered| resource(numbered).is_none_or(|resource| concerns(&resource)));
    if watch.taps.is_empty() {
        watch.interval_ms = REST_INTERVAL_MS;
    }
    watch
}

/// Names a workload that was called by what made it, where that is known.
fn made(mut labels: Series, owners: &Owners) -> Series {
    if labels.reporter() == Reporter::Source
        && let Some(party) = &mut labels.destination
        && let Ok(id) = WorkloadId::new(&party.namespace, &party.workload)
        && let Some(owner) = owners.get(&id)
    {
        (party.workload, party.kind) = (owner.name.clone(), owner.kind.clone());
    }
    labels
}

/// How often proxies report while anything happens.
const REST_INTERVAL_MS: u32 = 5_000;
/// How often while somebody watches calls.
const TAP_INTERVAL_MS: u32 = 250;
/// A proxy keeps fewer; see its table of limits.
const MAX_STREAM_SERIES: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::connections;

    fn reporting(hub: &Hub) -> Reporting {
        hub.report(&"default/web-1".parse().unwrap(), Known::default())
    }

    #[tokio::test(start_paused = true)]
    async fn proxies_that_do_not_answer_hold_up_no_reader() {
        let hub = Hub::new();
        let (prompt, _silent) = (reporting(&hub), reporting(&hub));
        let begun = Instant::now();
        let answer = async { prompt.take(Signals { flushed: 1, ..Signals::default() }, &Owners::new()) };
        let ((), answered) = tokio::join!(hub.flush(), answer);
        assert_eq!((begun.elapsed(), answered), (FLUSH_TIMEOUT, Ok(())));
    }

    #[test]
    fn a_proxy_has_so_many_series_and_no_more() {
        let hub = Hub::new();
        let one = reporting(&hub);
        let series = |ids: std::ops::Range<u32>| {
            let series = connections(Reporter::Source, ("web", "api"), "-");
            Signals { series: ids.map(|id| Series { id, ..series.clone() }).collect(), ..Signals::default() }
        };
        let most = MAX_STREAM_SERIES as u32;
        assert_eq!(one.take(series(0..most), &Owners::new()), Ok(()));
        assert_eq!(one.take(series(most..most + 1), &Owners::new()), Err(ReportError::TooMany));
        assert_eq!(reporting(&hub).take(series(0..1), &Owners::new()), Ok(()), "another one has its own");
    }
}
