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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Series {
    /// Pods that were asked about.
    Pods(Answered),
    /// Questions about pods that could not be answered.
    Failed,
    /// Policies that were let through.
    Valid,
    /// Policies that were refused.
    Invalid,
    /// Events that were dropped, since too many waited.
    EventsDropped,
}

/// What was answered about pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answered {
    /// Their namespace.
    pub(crate) namespace: String,
    /// The kind of what made them, in Linkerd's words.
    pub(crate) owner_kind: &'static str,
    /// Why they got no proxy, in Linkerd's words; `None` when they got one.
    pub(crate) skipped: Option<&'static str>,
}

impl Metrics {
    pub(crate) fn count(&self, series: Series) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let series = match series {
            Series::Pods(pods) if counts.len() >= MAX_SERIES && !counts.contains_key(&Series::Pods(pods.clone())) => {
                Series::Pods(Answered { namespace: OTHER.to_owned(), ..pods })
            }
            series => series,
        };
        *counts.entry(series).or_default() += 1;
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
    fn words(&self) -> (&'static str, String, &'static str) {
        let answered = "Answers to questions about new pods.";
        let validated = "Answers to questions about policies.";
        match self {
            Self::Pods(Answered { namespace, owner_kind, skipped }) => {
                let (skip, reason) = (skipped.is_some(), skipped.unwrap_or_default());
                let labels = format!(
                    "{{namespace=\"{namespace}\",owner_kind=\"{owner_kind}\",skip=\"{skip}\",skip_reason=\"{reason}\"}}"
                );
                (INJECTION, labels, answered)
            }
            Self::Failed => ("weft_injection_failures_total", String::new(), "Questions about pods without an answer."),
            Self::Valid => (VALIDATION, "{allowed=\"true\"}".to_owned(), validated),
            Self::Invalid => (VALIDATION, "{allowed=\"false\"}".to_owned(), validated),
            Self::EventsDropped => ("weft_events_dropped_total", String::new(), "Events that were never posted."),
        }
    }
}

/// Beyond these, pods of further namespaces are counted together: metrics are for the living, and
/// namespaces come and go.
const MAX_SERIES: usize = 2_000;
/// No namespace has this name.
const OTHER: &str = "";
const UNMESHED: &str = "weft_pods_without_proxy";
const INJECTION: &str = "weft_injection_responses_total";
const VALIDATION: &str = "weft_validation_responses_total";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered() {
        let metrics = Metrics::default();
        let pods = |namespace: &str, skipped| {
            Series::Pods(Answered { namespace: namespace.to_owned(), owner_kind: "deployment", skipped })
        };
        metrics.count(pods("shop", Some("host_network_enabled")));
        metrics.count(pods("shop", None));
        metrics.count(pods("shop", None));
        let text = metrics.render();
        assert_eq!(text.matches("# TYPE").count(), 2);
        let line = "weft_injection_responses_total{namespace=\"shop\",owner_kind=\"deployment\",skip=\"false\",skip_reason=\"\"} 2\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("skip=\"true\",skip_reason=\"host_network_enabled\"} 1\n"), "{text}");
        for number in 0..2 * MAX_SERIES {
            metrics.count(pods(&format!("n{number}"), None));
        }
        let text = metrics.render();
        assert!(text.lines().count() < MAX_SERIES + 10, "{}", text.lines().count());
        assert!(text.contains("{namespace=\"\",owner_kind=\"deployment\""), "{text}");
    }
}
