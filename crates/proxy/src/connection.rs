//! One connection being accounted for: its labels, its bytes, its verdict and its end are counted
//! and logged exactly once, however it ends.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::access::{AccessRecord, Judged, Unenforced};
use crate::copy::{Broken, End};
use crate::data::Data;
use crate::metrics::{Labels, Meter};
use crate::report::Watched;
use crate::why::{Cause, Failure, Hop};

/// The account of one connection.
pub(crate) struct Account {
    data: Rc<Data>,
    start: SystemTime,
    began: Instant,
    source: SocketAddr,
    destination: SocketAddr,
    /// Who calls whom, as far as it is known by now.
    pub labels: Labels,
    /// What policy said.
    pub verdict: Option<Judged>,
    /// What AUDIT and dry-run policies said.
    pub unenforced: Option<Box<Unenforced>>,
    /// Kept for as long as it is open.
    watched: Cell<Option<Watched>>,
    /// The service that the caller's proxy says was called; nobody vouches for it.
    pub told: Option<Box<str>>,
}

impl Account {
    /// Opens an account, when a connection was accepted.
    pub(crate) fn new(data: &Rc<Data>, source: SocketAddr, destination: SocketAddr, labels: Labels) -> Self {
        let (start, began) = (SystemTime::now(), Instant::now());
        let (verdict, unenforced, watched, told) = (None, None, Cell::default(), None);
        Self { data: data.clone(), start, began, source, destination, labels, verdict, unenforced, watched, told }
    }

    /// The connection is open at both ends. Labels don't change any more.
    pub(crate) fn open(&self) -> Meter {
        self.watched.set(self.data.report.begin(|| AccessRecord {
            start: self.start,
            duration: self.began.elapsed(),
            labels: Arc::new(self.labels.clone()),
            source: self.source,
            destination: self.destination,
            from_caller: 0,
            from_callee: 0,
            verdict: self.verdict.clone(),
            unenforced: None,
            failure: None,
            request: None,
            told: self.told.clone(),
        }));
        self.data.metrics.open(&self.labels)
    }

    /// The connection ended before it was open at both ends.
    pub(crate) fn refused(self, failure: Failure) {
        self.data.metrics.open(&self.labels);
        self.close((0, 0), Some(failure));
    }

    /// An open connection ended.
    pub(crate) fn ended(self, meter: &Meter, failure: Option<Failure>) {
        self.close(meter.bytes(), failure);
    }

    fn close(self, (from_caller, from_callee): (u64, u64), failure: Option<Failure>) {
        let flag = failure.as_ref().map_or(crate::metrics::NO_FLAG, |f| f.cause.flag());
        self.data.metrics.close(&self.labels, flag);
        if let Some(failure) = &failure {
            tracing::debug!(source = %self.source, destination = %self.destination, %failure, "connection failed");
        }
        let record = AccessRecord {
            start: self.start,
            duration: self.began.elapsed(),
            labels: Arc::new(self.labels),
            source: self.source,
            destination: self.destination,
            from_caller,
            from_callee,
            verdict: self.verdict,
            unenforced: self.unenforced,
            failure,
            request: None,
            told: self.told,
        };
        self.data.report.see(&record);
        self.data.access.push(record);
    }
}

/// What a copy that broke means: the side that broke is where the connection ended.
pub(crate) fn broken(Broken { end, other_had_ended, error }: Broken) -> Failure {
    let hop = match end {
        End::Caller => Hop::Caller,
        End::Callee => Hop::Callee,
    };
    let cause = if other_had_ended { Cause::LateReset } else { Cause::Reset };
    Failure { hop, cause, detail: error.to_string() }
}
