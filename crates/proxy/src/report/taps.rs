//! Calls that somebody watches for, in a bounded ring that loses the newest. Nothing is made of a
//! call for which nobody looks. A call is told at its end; one that lasts, before too.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use weft_wire::proto::weft::v1::{NumberedFilter, TapEvent};

use super::clause::{Clauses, Seen};
use super::label::{party, service, view};
use crate::access::AccessRecord;
use crate::limits::TAP_EVENTS;
use crate::metrics::NO_FLAG;

/// Who watches for what, and what they haven't been told yet.
#[derive(Default)]
pub(super) struct Taps {
    filters: RefCell<Vec<(u64, Clauses)>>,
    ring: RefCell<Vec<TapEvent>>,
    dropped: Cell<u64>,
    open: Rc<RefCell<Opened>>,
    last: Cell<u64>,
}

/// Calls that began while somebody watched for them and go on, by number.
type Opened = HashMap<u64, Stage>;

/// What lasts from one report to the next is told as open, once.
enum Stage {
    Begun(TapEvent),
    Lasting(TapEvent),
    Told,
}

/// A call that may have to be told as open, until dropped.
pub(crate) struct Watched {
    open: Rc<RefCell<Opened>>,
    number: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.open.borrow_mut().remove(&self.number);
    }
}

impl Taps {
    /// Looks for these from now on.
    pub(super) fn watch(&self, filters: Vec<NumberedFilter>) {
        let compile = |f: NumberedFilter| (f.number, Clauses::of(&f.filter.unwrap_or_default()));
        *self.filters.borrow_mut() = filters.into_iter().map(compile).collect();
        if self.filters.borrow().is_empty() {
            self.take();
            self.open.borrow_mut().clear();
        }
    }

    /// Whether anybody watches.
    pub(super) fn is_watching(&self) -> bool {
        !self.filters.borrow().is_empty()
    }

    /// A call began that somebody may watch for; more than [`TAP_EVENTS`] at once are told at their
    /// end only.
    pub(super) fn begin(&self, record: &AccessRecord) -> Option<Watched> {
        let event = TapEvent { open: true, ..self.event(record)? };
        if self.open.borrow().len() == TAP_EVENTS {
            return None;
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        self.open.borrow_mut().insert(number, Stage::Begun(event));
        Some(Watched { open: self.open.clone(), number })
    }

    /// A call ended.
    pub(super) fn see(&self, record: &AccessRecord) {
        if self.is_watching()
            && let Some(event) = self.event(record)
        {
            self.push(event);
        }
    }

    fn event(&self, record: &AccessRecord) -> Option<TapEvent> {
        let seen = Seen::of(record);
        let filters = self.filters.borrow();
        let numbers: Vec<u64> = filters.iter().filter(|(_, c)| c.admit(&seen)).map(|(number, _)| *number).collect();
        (!numbers.is_empty()).then(|| event(record, &seen, numbers))
    }

    fn push(&self, event: TapEvent) {
        let mut ring = self.ring.borrow_mut();
        if ring.len() == TAP_EVENTS {
            self.dropped.set(self.dropped.get() + 1);
        } else {
            ring.push(event);
        }
    }

    /// What came since the last time, and how much was lost.
    pub(super) fn take(&self) -> (Vec<TapEvent>, u64) {
        for stage in self.open.borrow_mut().values_mut() {
            *stage = match std::mem::replace(stage, Stage::Told) {
                Stage::Begun(event) => Stage::Lasting(event),
                Stage::Lasting(event) => {
                    self.push(TapEvent { duration_us: us_since(event.start_us), ..event });
                    Stage::Told
                }
                Stage::Told => Stage::Told,
            };
        }
        (self.ring.take(), self.dropped.take())
    }
}

fn us_since(start_us: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(start_us.cast_unsigned())
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
        open: false,
    }
}

#[cfg(test)]
mod tests;
