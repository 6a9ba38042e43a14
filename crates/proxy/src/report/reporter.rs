//! The data thread's part: which series have changed, and since when all is quiet. A series has its
//! number and what was last told of it beside its counters, so that a snapshot is one walk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use weft_wire::proto::weft::v1::{self as proto, Delta, Series};

use super::label::{party, service, view};
use super::route::{RouteId, Routes};
use super::routed::Routed;
use super::taps::{Taps, Watched};
use super::{Activity, Ask, DataEnd, Snapshot};
use crate::access::AccessRecord;
use crate::data::Data;
use crate::limits::REPORT_SERIES;
use crate::metrics::{Labels, Metrics, TcpCounts};

/// What the data thread has told, and what it is to look for.
pub(crate) struct Reporter {
    touched: Arc<Notify>,
    last: RefCell<Option<oneshot::Sender<Snapshot>>>,
    resting: Cell<bool>,
    series: Cell<u32>,
    routes: Routes,
    taps: Taps,
}

/// What was told of one series.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    id: Cell<Option<u32>>,
    counts: Cell<TcpCounts>,
}

impl Reporter {
    /// Splits the data thread's end: what is asked is for [`answer`].
    pub(crate) fn new(end: DataEnd) -> (Self, mpsc::Receiver<Ask>) {
        let DataEnd { asks, touched, last } = end;
        let last = RefCell::new(Some(last));
        let reporter = Self {
            touched,
            last,
            resting: Cell::new(false),
            series: Cell::new(0),
            routes: Routes::default(),
            taps: Taps::default(),
        };
        (reporter, asks)
    }

    /// Something begins: rings when all was quiet.
    pub(crate) fn touch(&self) {
        if self.resting.replace(false) {
            self.touched.notify_one();
        }
    }

    /// A request ended: counts it under its route. `asked` are its method and target.
    pub(crate) fn count(&self, routed: &Routed, asked: (&str, &str), took: Duration, bytes: (u64, u64)) {
        let route = self.routes.of(asked.0, asked.1);
        let is_full = self.series.get() >= REPORT_SERIES && !routed.knows(route);
        routed.count(if is_full { RouteId::default() } else { route }, took, bytes);
    }

    /// Whether anybody watches calls.
    pub(crate) fn is_watched(&self) -> bool {
        self.taps.is_watching()
    }

    /// A call begins. Whoever watches for such calls will see that it is open, if it lasts.
    pub(crate) fn begin(&self, record: impl FnOnce() -> AccessRecord) -> Option<Watched> {
        if self.taps.is_watching() { self.taps.begin(&record()) } else { None }
    }

    /// A call ended. Whoever watches for such a call will see it.
    pub(crate) fn see(&self, record: &AccessRecord) {
        self.taps.see(record);
    }

    /// Tells what is left, when the data thread ends.
    pub(crate) fn finish(&self, data: &Data) {
        if let Some(last) = self.last.take() {
            // Nobody is there to take it when the proxy has no control plane.
            let _alone = last.send(self.snapshot(data));
        }
    }

    fn snapshot(&self, data: &Data) -> Snapshot {
        let process = &data.metrics.process;
        let (series, deltas) = self.changed(&data.metrics);
        let (outbound_open, inbound_open) = (process.outbound_open.get(), process.inbound_open.get());
        let (taps, taps_dropped) = self.taps.take();
        let quiet = deltas.is_empty() && outbound_open == 0 && inbound_open == 0 && process.udp.flows.get() == 0;
        self.resting.set(quiet);
        let activity = if quiet { Activity::Resting } else { Activity::Busy };
        data.renew_gauges();
        let process = process.rows().map(|(name, _, _, value)| (name, value)).collect();
        Snapshot { series, deltas, taps, taps_dropped, outbound_open, inbound_open, process, activity }
    }

    fn changed(&self, metrics: &Metrics) -> (Vec<Series>, Vec<Delta>) {
        let (mut series, mut deltas) = (Vec::new(), Vec::new());
        metrics.each_tcp(|labels, flag, counts, reported| {
            let before = reported.counts.replace(counts);
            if before != counts {
                let id = reported.id.get().unwrap_or_else(|| {
                    let named = self.name(labels, flag);
                    let id = named.id;
                    series.push(named);
                    reported.id.set(Some(id));
                    id
                });
                deltas.push(delta(id, before, counts));
            }
        });
        metrics.requests.each(|labels, outcome, routed| {
            let name = |route| {
                let grpc_status = outcome.grpc.map(|status| status.to_string()).unwrap_or_default();
                let text = self.routes.text(route).to_string();
                let route = Some(proto::Route { route: text, code: outcome.code.into(), grpc_status });
                let named = Series { route, ..self.name(labels, outcome.flag) };
                let id = named.id;
                series.push(named);
                id
            };
            routed.take(name, &mut deltas);
        });
        (series, deltas)
    }

    fn name(&self, labels: &Labels, flag: &str) -> Series {
        let id = self.series.get();
        self.series.set(id + 1);
        Series {
            id,
            reporter: view(labels.reporter).into(),
            source: Some(party(&labels.source)),
            destination: Some(party(&labels.destination)),
            service: Some(service(&labels.service)),
            protocol: labels.protocol.to_owned(),
            security: labels.security.to_owned(),
            flag: flag.to_owned(),
            route: None,
        }
    }
}

/// Answers what is asked, for as long as the control thread lives.
pub(crate) async fn answer(data: Rc<Data>, mut asks: mpsc::Receiver<Ask>) {
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Watch(filters) => data.report.taps.watch(filters),
            // Who asked may have ended meanwhile.
            Ask::Snapshot(reply) => drop(reply.send(data.report.snapshot(&data))),
        }
    }
}

fn delta(id: u32, before: TcpCounts, now: TcpCounts) -> Delta {
    Delta {
        id,
        opened: now.opened - before.opened,
        closed: now.closed - before.closed,
        from_caller_bytes: now.from_caller - before.from_caller,
        from_callee_bytes: now.from_callee - before.from_callee,
        open: (now.open != before.open).then_some(now.open),
        ..Delta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_routes_beyond_the_bound_are_counted_together() {
        let (_control, data) = super::super::channel();
        let (reporter, _asks) = Reporter::new(data);
        let routed = Routed::default();
        let count = |target| reporter.count(&routed, ("GET", target), Duration::ZERO, (0, 0));
        reporter.series.set(REPORT_SERIES - 1);
        count("/known");
        reporter.series.set(REPORT_SERIES);
        ["/known", "/new", "/newer"].into_iter().for_each(count);
        let (mut routes, mut deltas) = (Vec::new(), Vec::new());
        let name = |route| {
            routes.push(reporter.routes.text(route).to_string());
            0
        };
        routed.take(name, &mut deltas);
        let requests: Vec<u64> = deltas.iter().map(|delta| delta.requests).collect();
        assert_eq!((routes, requests), (vec!["GET /known".to_owned(), "other".to_owned()], vec![2, 2]));
    }
}
