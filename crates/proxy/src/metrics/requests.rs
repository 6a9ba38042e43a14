//! Series of requests, under Istio's names: how many, how long, how large. A series is looked up
//! once for a connection and an outcome; a request then adds to plain cells.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weft_wire::histogram::ISTIO_BOUNDS as BOUNDS;

use super::{Labels, count, label_text, overflow};
use crate::limits::METRIC_SERIES;
use crate::report::Routed;

/// How a request ended, as labels tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The status that the caller got; 0 when it got none, as Istio has it.
    pub code: u16,
    /// The status of gRPC, where there is one.
    pub grpc: Option<u16>,
    /// Why it failed; [`super::NO_FLAG`] if it didn't.
    pub flag: &'static str,
}

/// All series of requests.
#[derive(Default)]
pub struct Requests(RefCell<HashMap<Key, Rc<RequestSeries>>>);

type Key = (Arc<Labels>, Outcome);

/// The counters of one series of requests.
#[derive(Default)]
pub struct RequestSeries {
    total: Cell<u64>,
    duration_ms: Histogram,
    received: Histogram,
    sent: Histogram,
    /// By route, until the next report.
    pub(crate) routed: Routed,
}

impl Requests {
    /// The series of these labels and outcome. Beyond [`METRIC_SERIES`], one for all.
    pub fn series(&self, labels: &Arc<Labels>, outcome: Outcome) -> Rc<RequestSeries> {
        let mut all = self.0.borrow_mut();
        if let Some(series) = all.get(&(labels.clone(), outcome)) {
            return series.clone();
        }
        let labels = if all.len() < METRIC_SERIES { labels.clone() } else { Arc::new(overflow(labels.reporter)) };
        all.entry((labels, outcome)).or_default().clone()
    }

    /// Looks at what every series counted by route.
    pub(crate) fn each(&self, mut look: impl FnMut(&Labels, Outcome, &Routed)) {
        for ((labels, outcome), series) in self.0.borrow().iter() {
            look(labels, *outcome, &series.routed);
        }
    }

    /// Appends all families in Prometheus's text format.
    pub(super) fn render(&self, page: &mut String) {
        let rows: Vec<(String, Rc<RequestSeries>)> = (self.0.borrow().iter())
            .map(|((labels, outcome), series)| (text(labels, *outcome), series.clone()))
            .collect();
        let name = "istio_requests_total";
        let _infallible = writeln!(page, "# HELP {name} Requests.\n# TYPE {name} counter");
        for (labels, series) in &rows {
            let _infallible = writeln!(page, "{name}{{{labels}}} {}", series.total.get());
        }
        for (name, help, read) in FAMILIES {
            let _infallible = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
            for (labels, series) in &rows {
                read(series).render(name, labels, page);
            }
        }
    }
}

impl RequestSeries {
    /// Counts one request: how long it took, and the bytes of caller and callee.
    pub fn add(&self, took: Duration, (received, sent): (u64, u64)) {
        count(&self.total);
        self.duration_ms.add(took.as_secs_f64() * 1e3);
        self.received.add(received as f64);
        self.sent.add(sent as f64);
    }
}

/// Counts by upper bound; each value is in one place only, and sums are made when someone reads.
#[derive(Default)]
struct Histogram {
    counts: [Cell<u64>; BOUNDS.len() + 1],
    sum: Cell<f64>,
}

impl Histogram {
    fn add(&self, value: f64) {
        let place = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
        count(&self.counts[place]);
        self.sum.set(self.sum.get() + value);
    }

    fn render(&self, name: &str, labels: &str, page: &mut String) {
        let mut below = 0;
        for (counted, bound) in self.counts.iter().zip(BOUNDS) {
            below += counted.get();
            let _infallible = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        below += self.counts[BOUNDS.len()].get();
        let sum = self.sum.get();
        let _infallible = writeln!(
            page,
            "{name}_bucket{{{labels},le=\"+Inf\"}} {below}\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {below}"
        );
    }
}

fn text(labels: &Labels, outcome: Outcome) -> String {
    let mut text = label_text(labels, outcome.flag);
    let grpc = outcome.grpc.map(|status| status.to_string()).unwrap_or_default();
    let _infallible = write!(text, ",response_code=\"{}\",grpc_response_status=\"{grpc}\"", outcome.code);
    text
}

type Family = (&'static str, &'static str, fn(&RequestSeries) -> &Histogram);

const FAMILIES: [Family; 3] = [
    ("istio_request_duration_milliseconds", "Duration of requests.", |s| &s.duration_ms),
    ("istio_request_bytes", "Bytes of requests, heads included.", |s| &s.received),
    ("istio_response_bytes", "Bytes of responses, heads included.", |s| &s.sent),
];

#[cfg(test)]
mod tests {
    use super::super::Reporter;
    use super::*;

    const FINE: Outcome = Outcome { code: 200, grpc: None, flag: "-" };

    #[test]
    fn a_page_shows_buckets_that_add_up() {
        let requests = Requests::default();
        let labels = Arc::new(overflow(Reporter::Source));
        let series = requests.series(&labels, FINE);
        series.add(Duration::from_micros(400), (10, 20));
        series.add(Duration::from_millis(7), (10, 20));
        series.add(Duration::from_secs(7_200), (10, 20));
        assert!(Rc::ptr_eq(&series, &requests.series(&labels, FINE)));
        let mut page = String::new();
        requests.render(&mut page);
        for expected in [
            "response_code=\"200\",grpc_response_status=\"\"} 3\n",
            ",le=\"0.5\"} 1\n",
            ",le=\"5\"} 1\n",
            ",le=\"10\"} 2\n",
            ",le=\"3600000\"} 2\n",
            ",le=\"+Inf\"} 3\n",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        assert!(page.contains("istio_request_bytes_sum{source_workload=\"other\""), "{page}");
    }

    #[test]
    fn series_are_bounded() {
        let requests = Requests::default();
        for n in 0..METRIC_SERIES + 100 {
            let mut labels = overflow(Reporter::Source);
            labels.source.app = Arc::from(n.to_string());
            requests.series(&Arc::new(labels), FINE);
        }
        assert_eq!(requests.0.borrow().len(), METRIC_SERIES + 1);
    }
}
