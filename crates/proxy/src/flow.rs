//! What requests of one caller to one workload have in common, so that each finds its counters at hand.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits::{METRIC_SERIES, OUTCOMES_AT_HAND};
use crate::metrics::{Labels, Metrics, Outcome, RequestSeries};

/// The flows of one data thread: connections whose requests have the same labels share one.
#[derive(Default)]
pub(crate) struct Flows(RefCell<HashMap<Arc<Labels>, Rc<Flow>>>);

/// What requests of one caller to one workload have in common, and their series at hand.
pub(crate) struct Flow {
    /// Who calls whom.
    pub labels: Arc<Labels>,
    series: RefCell<Vec<(Outcome, Rc<RequestSeries>)>>,
}

impl Flows {
    /// The flow of these labels. Beyond [`METRIC_SERIES`] it is shared by nobody.
    pub(crate) fn of(&self, labels: Labels) -> Rc<Flow> {
        let mut all = self.0.borrow_mut();
        if let Some(flow) = all.get(&labels) {
            return flow.clone();
        }
        let labels = Arc::new(labels);
        let flow = Rc::new(Flow { labels: labels.clone(), series: RefCell::default() });
        if all.len() < METRIC_SERIES {
            all.insert(labels, flow.clone());
        }
        flow
    }
}

impl Flow {
    /// Where requests with this outcome are counted.
    pub(crate) fn series(&self, metrics: &Metrics, outcome: Outcome) -> Rc<RequestSeries> {
        let mut at_hand = self.series.borrow_mut();
        if let Some((_, series)) = at_hand.iter().find(|(known, _)| *known == outcome) {
            return series.clone();
        }
        let series = metrics.requests.series(&self.labels, outcome);
        if at_hand.len() < OUTCOMES_AT_HAND {
            at_hand.push((outcome, series.clone()));
        }
        series
    }
}
