//! Counters of what the webhooks answered, as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts; shared by the webhooks and whoever serves metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<BTreeMap<Series, u64>>,
    unmeshed: AtomicUsize,
}

/// One series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Series {
    /// Pods that got a proxy.
    Injected,
    /// Pods that got none, by the reason's word.
    Skipped(&'static str),
    /// Questions about pods that could not be answered.
    Failed,
    /// Policies that were let through.
    Valid,
    /// Policies that were refused.
    Invalid,
    /// Events that were dropped, since too many waited.
    EventsDropped,
}

impl Metrics {
    pub(crate) fn count(&self, series: Series) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(series).or_default() += 1;
    }

    /// An event was never posted.
    pub(crate) fn event_dropped(&self) {
        self.count(Series::EventsDropped);
    }

    /// How many pods run without the proxy that they should have.
    pub(crate) fn set_unmeshed(&self, pods: usize) {
        self.unmeshed.store(pods, Ordering::Relaxed);
    }

    /// The counters in Prometheus' text format.
    pub fn render(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut last = "";
        for (series, count) in &*counts {
            let (name, labels, help) = series.words();
            if name != last {
                // Writing to a String can't fail.
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
                last = name;
            }
            let _ = writeln!(text, "{name}{labels} {count}");
        }
        let unmeshed = self.unmeshed.load(Ordering::Relaxed);
        let help = "Pods that should have a proxy and run without one.";
        let _ = writeln!(text, "# HELP {UNMESHED} {help}\n# TYPE {UNMESHED} gauge\n{UNMESHED} {unmeshed}");
        text
    }
}

impl Series {
    fn words(self) -> (&'static str, String, &'static str) {
        let answered = "Answers to questions about new pods.";
        let validated = "Answers to questions about policies.";
        match self {
            Self::Injected => (INJECTION, "{skip=\"false\",skip_reason=\"\"}".to_owned(), answered),
            Self::Skipped(reason) => (INJECTION, format!("{{skip=\"true\",skip_reason=\"{reason}\"}}"), answered),
            Self::Failed => ("weft_injection_failures_total", String::new(), "Questions about pods without an answer."),
            Self::Valid => (VALIDATION, "{allowed=\"true\"}".to_owned(), validated),
            Self::Invalid => (VALIDATION, "{allowed=\"false\"}".to_owned(), validated),
            Self::EventsDropped => ("weft_events_dropped_total", String::new(), "Events that were never posted."),
        }
    }
}

const UNMESHED: &str = "weft_pods_without_proxy";
const INJECTION: &str = "weft_injection_responses_total";
const VALIDATION: &str = "weft_validation_responses_total";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered() {
        let metrics = Metrics::default();
        metrics.count(Series::Skipped("host_network_enabled"));
        metrics.count(Series::Injected);
        metrics.count(Series::Injected);
        let text = metrics.render();
        assert_eq!(text.matches("# TYPE").count(), 2);
        assert!(text.contains("weft_injection_responses_total{skip=\"false\",skip_reason=\"\"} 2\n"), "{text}");
        assert!(text.contains("{skip=\"true\",skip_reason=\"host_network_enabled\"} 1\n"), "{text}");
    }
}
