//! Calls that somebody watches for, in a bounded ring that loses the newest. Nothing is made of a
//! call for which nobody looks.

use std::cell::{Cell, RefCell};
use std::time::UNIX_EPOCH;

use weft_wire::proto::weft::v1::{NumberedFilter, TapEvent};

use super::clause::{Clauses, Seen};
use super::reporter::{party, service, view};
use crate::access::AccessRecord;
use crate::limits::TAP_EVENTS;
use crate::metrics::NO_FLAG;

/// Who watches for what, and what they haven't been told yet.
#[derive(Default)]
pub(super) struct Taps {
    filters: RefCell<Vec<(u64, Clauses)>>,
    ring: RefCell<Vec<TapEvent>>,
    dropped: Cell<u64>,
}

impl Taps {
    /// Looks for these from now on.
    pub(super) fn watch(&self, filters: Vec<NumberedFilter>) {
        let compile = |f: NumberedFilter| (f.number, Clauses::of(&f.filter.unwrap_or_default()));
        *self.filters.borrow_mut() = filters.into_iter().map(compile).collect();
        if self.filters.borrow().is_empty() {
            self.take();
        }
    }

    /// Whether anybody watches.
    pub(super) fn is_watching(&self) -> bool {
        !self.filters.borrow().is_empty()
    }

    /// A call ended.
    pub(super) fn see(&self, record: &AccessRecord) {
        if !self.is_watching() {
            return;
        }
        let seen = Seen::of(record);
        let filters = self.filters.borrow();
        let numbers: Vec<u64> = filters.iter().filter(|(_, c)| c.admit(&seen)).map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return;
        }
        let mut ring = self.ring.borrow_mut();
        if ring.len() == TAP_EVENTS {
            self.dropped.set(self.dropped.get() + 1);
        } else {
            ring.push(event(record, &seen, numbers));
        }
    }

    /// What came since the last time, and how much was lost.
    pub(super) fn take(&self) -> (Vec<TapEvent>, u64) {
        (self.ring.take(), self.dropped.take())
    }
}

fn event(record: &AccessRecord, seen: &Seen<'_>, numbers: Vec<u64>) -> TapEvent {
    let labels = &record.labels;
    let start = record.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    TapEvent {
        numbers,
        reporter: view(labels.reporter).into(),
        start_us: i64::try_from(start.as_micros()).unwrap_or(i64::MAX),
        duration_us: u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        source: Some(party(&labels.source)),
        destination: Some(party(&labels.destination)),
        service: Some(service(&labels.service)),
        source_address: record.source.to_string(),
        destination_address: record.destination.to_string(),
        protocol: labels.protocol.to_owned(),
        security: labels.security.to_owned(),
        flag: record.failure.as_ref().map_or(NO_FLAG, |failure| failure.cause.flag()).to_owned(),
        from_caller_bytes: record.from_caller,
        from_callee_bytes: record.from_callee,
        method: seen.method.to_owned(),
        path: seen.path.to_owned(),
        code: seen.status.into(),
        verdict: record.verdict.as_ref().map(|judged| judged.verdict).unwrap_or_default().to_owned(),
        why: record.failure.as_ref().map(|failure| failure.cause.as_str()).unwrap_or_default().to_owned(),
    }
}
