//! The account of one request, whatever its version of HTTP: judged, counted and logged exactly
//! once. What stays the same for the requests of one connection is kept in a [`Flow`]. Knows no
//! sockets.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use weft_mesh::HttpCall;
use weft_mesh::decide::decide;
use weft_mesh::record::Inbound;

use crate::access::{AccessRecord, Asked, Judged, Unenforced, Words};
use crate::data::Data;
use crate::flow::Flow;
use crate::live::{Facts, judged, unenforced};
use crate::metrics::{NO_FLAG, Outcome};
use crate::report::Watched;
use crate::why::Failure;

/// What was asked, as the log tells it. Texts that aren't known are empty.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line<'a> {
    /// The method.
    pub method: &'a str,
    /// `Host` or `:authority`.
    pub authority: &'a str,
    /// The target, with its query.
    pub target: &'a str,
    /// The value of `x-request-id`.
    pub id: &'a str,
}

/// One request being accounted for.
pub(crate) struct Request {
    data: Rc<Data>,
    /// Its labels; replaced when an endpoint is chosen.
    pub flow: Rc<Flow>,
    /// The calling program's address, and the address that it called.
    ends: (SocketAddr, SocketAddr),
    began: Instant,
    words: Words,
    /// Kept for as long as it is open.
    _watched: Option<Watched>,
    /// What policy said.
    pub verdict: Option<Judged>,
    /// What AUDIT and dry-run policies said.
    unenforced: Option<Box<Unenforced>>,
    /// The status that the caller got; 0 as long as it got none.
    pub status: Cell<u16>,
    /// The status of gRPC, once it is known.
    pub grpc_status: Cell<Option<u16>>,
    /// Bytes of the caller so far.
    pub received: Cell<u64>,
    /// Bytes of the callee so far.
    pub sent: Cell<u64>,
}

impl Request {
    /// Opens an account, when a head has come. `ends` are the calling program's address, and the
    /// address that it called.
    pub(crate) fn begin(data: &Rc<Data>, flow: &Rc<Flow>, ends: (SocketAddr, SocketAddr), line: Line<'_>) -> Self {
        let Line { method, authority, target, id } = line;
        let words = Words::new([method, authority, target, id]);
        let watched = data.report.begin(|| AccessRecord {
            start: SystemTime::now(),
            duration: Duration::ZERO,
            labels: flow.labels.clone(),
            source: ends.0,
            destination: ends.1,
            from_caller: 0,
            from_callee: 0,
            verdict: None,
            unenforced: None,
            failure: None,
            request: Some(Asked { words: words.clone(), status: 0, grpc_status: None }),
            told: None,
        });
        Self {
            data: data.clone(),
            flow: flow.clone(),
            ends,
            began: Instant::now(),
            words,
            _watched: watched,
            verdict: None,
            unenforced: None,
            status: Cell::new(0),
            grpc_status: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
        }
    }

    /// Its id, for answers of Weft's own.
    pub(crate) fn id(&self) -> &str {
        self.words.all()[3]
    }

    /// Counts bytes of the caller.
    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    /// Counts bytes of the callee.
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Judges the request by a record, and keeps the verdict and what is only reported.
    pub(crate) fn judge(&mut self, inbound: &Inbound, facts: &Facts, http: HttpCall<'_>) -> &Judged {
        self.unenforced = unenforced(inbound, &facts.request(http), &self.data.metrics.process);
        self.verdict.insert(judge(inbound, facts, http))
    }

    /// The request ended. Counts and logs it.
    pub(crate) fn end(self, failure: Option<Failure>) {
        let took = self.began.elapsed();
        let bytes = (self.received.get(), self.sent.get());
        let (status, grpc_status) = (self.status.get(), self.grpc_status.get());
        let flag = failure.as_ref().map_or(NO_FLAG, |failure| failure.cause.flag());
        let outcome = Outcome { code: status, grpc: grpc_status, flag };
        let series = self.flow.series(&self.data.metrics, outcome);
        series.add(took, bytes);
        let [method, _, target, _] = self.words.all();
        self.data.report.count(&series.routed, (method, target), took, bytes);
        if !self.data.access.has_room() && !self.data.report.is_watched() {
            return self.data.access.miss();
        }
        let record = AccessRecord {
            start: SystemTime::now().checked_sub(took).unwrap_or(SystemTime::UNIX_EPOCH),
            duration: took,
            labels: self.flow.labels.clone(),
            source: self.ends.0,
            destination: self.ends.1,
            from_caller: bytes.0,
            from_callee: bytes.1,
            verdict: self.verdict,
            unenforced: self.unenforced,
            failure,
            request: Some(Asked { words: self.words, status, grpc_status }),
            told: None,
        };
        self.data.report.see(&record);
        self.data.access.push(record);
    }
}

/// Judges a request. `http.path` is normalized and without its query; `http.headers` answers
/// `:path` with the normalized target, query included.
pub(crate) fn judge(inbound: &Inbound, facts: &Facts, http: HttpCall<'_>) -> Judged {
    judged(inbound, &decide(inbound, &facts.request(http)))
}

/// The field that names a request; made by the first proxy where the program sends none.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// Fields that speak of the caller's identity or address and that a caller could forge. The
/// callee's proxy takes them out of heads and refuses them in trailers.
pub(crate) const FORGEABLE: &[&str] = &[
    IDENTITY,
    "l5d-client-id",
    "l5d-remote-ip",
    "l5d-server-id",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    UNPROCESSED,
];
/// The field by which the callee's proxy tells the program who calls (Envoy's, as Istio sets it).
pub(crate) const IDENTITY: &str = "x-forwarded-client-cert";
/// The field by which the callee's proxy tells the caller's that the program got nothing of a
/// request, so that another endpoint may be tried. Programs can neither send nor see it.
pub(crate) const UNPROCESSED: &str = "weft-unprocessed";
