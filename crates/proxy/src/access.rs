//! The access log: one line of JSON for each request, and for each connection that carried none. Records go through a bounded
//! ring that loses the newest when nobody reads, and are written by a thread of their own, many at
//! a time, so that neither a slow reader nor a wake-up for each record is felt by traffic.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weft_mesh::explain;

use crate::limits::{ACCESS_BATCHES, ACCESS_DELAY, ACCESS_END, ACCESS_RECORDS, ACCESS_WORD_BYTES};
use crate::metrics::{Labels, NO_FLAG, Party};
use crate::why::Failure;

/// One connection or request that ended.
#[derive(Debug, Clone)]
pub struct AccessRecord {
    /// When it was accepted, or its head had come.
    pub start: SystemTime,
    /// How long it lasted.
    pub duration: Duration,
    /// Who called whom.
    pub labels: Arc<Labels>,
    /// The caller's address.
    pub source: SocketAddr,
    /// The address that was called.
    pub destination: SocketAddr,
    /// Bytes of the caller.
    pub from_caller: u64,
    /// Bytes of the callee.
    pub from_callee: u64,
    /// What policy said; `None` where nobody judged.
    pub verdict: Option<Judged>,
    /// What AUDIT and dry-run policies said, if anything.
    pub unenforced: Option<Box<Unenforced>>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What was asked, of a request.
    pub request: Option<Asked>,
    /// The service that the caller's proxy says was called, of a connection; nobody vouches for it.
    pub told: Option<Box<str>>,
}

impl AccessRecord {
    /// A connection, or what goes for one, that has only begun.
    pub(crate) fn begun(
        labels: Arc<Labels>,
        start: SystemTime,
        (source, destination): (SocketAddr, SocketAddr),
    ) -> Self {
        Self {
            start,
            duration: Duration::ZERO,
            labels,
            source,
            destination,
            from_caller: 0,
            from_callee: 0,
            verdict: None,
            unenforced: None,
            failure: None,
            request: None,
            told: None,
        }
    }

    /// A connection of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn of_connection(labels: Labels, start: SystemTime) -> Self {
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        Self::begun(labels.into(), start, (at, at))
    }
}

/// What was asked, and with which status it was answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The words of the request.
    pub words: Words,
    /// The status that the caller got; 0 when it got none.
    pub status: u16,
    /// The status of gRPC, where there is one.
    pub grpc_status: Option<u16>,
}

/// Method, authority, target and id of a request, one behind the other in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Words {
    text: String,
    ends: [usize; 3],
}

impl Words {
    /// Keeps the words: method, authority, target and id. Each is cut at [`ACCESS_WORD_BYTES`].
    pub fn new(words: [&str; 4]) -> Self {
        let words = words.map(cut);
        let mut text = String::with_capacity(words.iter().map(|word| word.len()).sum());
        let ends = words.map(|word| {
            text.push_str(word);
            text.len()
        });
        Self { text, ends: [ends[0], ends[1], ends[2]] }
    }

    /// The words again.
    pub fn all(&self) -> [&str; 4] {
        let [method, authority, target] = self.ends;
        [&self.text[..method], &self.text[method..authority], &self.text[authority..target], &self.text[target..]]
    }
}

/// The first [`ACCESS_WORD_BYTES`] of a word, and no half character.
fn cut(word: &str) -> &str {
    let mut end = word.len().min(ACCESS_WORD_BYTES);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    &word[..end]
}

/// A verdict, as it is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The rule that denied; `None` when no rule did.
    pub rule: Option<RulePlace>,
    /// Why it was denied, in words.
    pub reason: Option<String>,
}

impl Judged {
    /// Whether the call may not enter.
    pub(crate) fn is_denied(&self) -> bool {
        self.verdict == "deny"
    }
}

/// What AUDIT and dry-run policies said, as it is logged. Fields without a value are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unenforced {
    /// The rules of AUDIT policies that matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<RulePlace>,
    /// What the verdict would have been with dry-run policies enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<Judged>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulePlace {
    /// `<namespace>/<name>`.
    pub policy: String,
    /// The rule's place in the policy, from 0.
    pub index: u32,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl From<explain::RulePlace> for RulePlace {
    fn from(place: explain::RulePlace) -> Self {
        let explain::RulePlace { policy, index, file, line } = place;
        Self { policy, index, file, line }
    }
}

/// The data thread's end of the log.
pub struct AccessLog {
    ring: RefCell<Vec<AccessRecord>>,
    armed: Cell<bool>,
    dropped: Cell<u64>,
    writer: RefCell<Option<Writer>>,
}

struct Writer {
    batches: SyncSender<Vec<AccessRecord>>,
    /// Ends with the thread, on which nothing is ever said.
    ended: Receiver<()>,
}

impl AccessLog {
    /// A log that `out` gets, line by line; `None`: nothing is logged.
    pub fn new(out: Option<Box<dyn Write + Send>>) -> std::io::Result<Self> {
        let writer = out.map(Writer::start).transpose()?;
        Ok(Self {
            ring: RefCell::default(),
            armed: Cell::new(false),
            dropped: Cell::new(0),
            writer: RefCell::new(writer),
        })
    }

    /// Whether a record of what ends now would be kept: somebody reads, and fast enough.
    pub fn has_room(&self) -> bool {
        self.writer.borrow().is_some() && self.ring.borrow().len() < ACCESS_RECORDS
    }

    /// Takes note of a record that wasn't made because there was no room.
    pub fn miss(&self) {
        if self.writer.borrow().is_some() {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// Logs what ended. Never waits. Must be called within a `LocalSet`.
    pub fn push(self: &Rc<Self>, record: AccessRecord) {
        if self.writer.borrow().is_none() {
            return;
        }
        let mut ring = self.ring.borrow_mut();
        if ring.len() == ACCESS_RECORDS {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        ring.push(record);
        if !self.armed.replace(true) {
            let log = self.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(ACCESS_DELAY).await;
                log.armed.set(false);
                log.flush();
            });
        }
    }

    /// How many records were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Hands over what waits.
    fn flush(&self) {
        let batch = std::mem::take(&mut *self.ring.borrow_mut());
        let lost = batch.len() as u64;
        let Some(writer) = &*self.writer.borrow() else { return };
        if writer.batches.try_send(batch).is_err() {
            self.dropped.set(self.dropped.get() + lost);
        }
    }

    /// Writes what waits and ends the thread; waits for the reader of the log, but no longer than [`ACCESS_END`].
    pub fn finish(&self) {
        self.flush();
        if let Some(Writer { batches, ended }) = self.writer.take() {
            drop(batches);
            // Late or not, the proxy ends.
            let _late = ended.recv_timeout(ACCESS_END);
        }
    }
}

impl Writer {
    fn start(out: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (batches, receiver) = sync_channel(ACCESS_BATCHES);
        let (writes, ended) = channel();
        std::thread::Builder::new().name("access".to_owned()).stack_size(256 << 10).spawn(move || {
            let _writes: Sender<()> = writes;
            write_batches(&receiver, out);
        })?;
        Ok(Self { batches, ended })
    }
}

fn write_batches(batches: &Receiver<Vec<AccessRecord>>, mut out: Box<dyn Write + Send>) {
    while let Ok(batch) = batches.recv() {
        let mut text = Vec::new();
        for record in &batch {
            if serde_json::to_writer(&mut text, &Line::from(record)).is_ok() {
                text.push(b'\n');
            }
        }
        // A log that nobody can take is no reason to end connections.
        let _lost = out.write_all(&text).and_then(|()| out.flush());
    }
}

/// The fields of a line, in their order, as docs/access-log.md tells them. They are stable: new ones
/// are added at the end.
#[derive(Serialize)]
struct Line<'a> {
    start: String,
    duration_ms: u64,
    reporter: &'static str,
    protocol: &'static str,
    source_workload: &'a str,
    source_namespace: &'a str,
    source_principal: Option<&'a str>,
    source_address: SocketAddr,
    destination_workload: &'a str,
    destination_namespace: &'a str,
    destination_principal: Option<&'a str>,
    destination_service: &'a str,
    destination_address: SocketAddr,
    bytes_received: u64,
    bytes_sent: u64,
    #[serde(flatten)]
    judged: Option<&'a Judged>,
    flag: &'static str,
    hop: Option<String>,
    why: Option<&'static str>,
    detail: Option<&'a str>,
    method: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    request_id: Option<&'a str>,
    status: Option<u16>,
    grpc_status: Option<u16>,
    #[serde(flatten)]
    unenforced: Option<&'a Unenforced>,
}

impl<'a> From<&'a AccessRecord> for Line<'a> {
    fn from(record: &'a AccessRecord) -> Self {
        let labels = &record.labels;
        let failure = record.failure.as_ref();
        let words = record.request.as_ref().map(|request| request.words.all());
        Self {
            start: OffsetDateTime::from(record.start).format(&Rfc3339).unwrap_or_default(),
            duration_ms: u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
            reporter: labels.reporter.as_str(),
            protocol: labels.protocol,
            source_workload: &labels.source.workload,
            source_namespace: &labels.source.namespace,
            source_principal: principal(&labels.source),
            source_address: record.source,
            destination_workload: &labels.destination.workload,
            destination_namespace: &labels.destination.namespace,
            destination_principal: principal(&labels.destination),
            destination_service: &labels.service.host,
            destination_address: record.destination,
            bytes_received: record.from_caller,
            bytes_sent: record.from_callee,
            judged: record.verdict.as_ref(),
            flag: failure.map_or(NO_FLAG, |f| f.cause.flag()),
            hop: failure.map(|f| f.hop.to_string()),
            why: failure.map(|f| f.cause.as_str()),
            detail: failure.map(|f| f.detail.as_str()),
            method: words.map(|w| w[0]),
            authority: words.map(|w| w[1]).or(record.told.as_deref()),
            path: words.map(|w| w[2]),
            request_id: words.map(|w| w[3]),
            status: record.request.as_ref().map(|request| request.status),
            grpc_status: record.request.as_ref().and_then(|request| request.grpc_status),
            unenforced: record.unenforced.as_deref(),
        }
    }
}

fn principal(party: &Party) -> Option<&str> {
    party.principal.as_ref().map(|id| id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_cut_between_characters() {
        let long = format!("x{}", "é".repeat(ACCESS_WORD_BYTES));
        let words = Words::new(["GET", &long, "/", &long]);
        let [method, authority, target, id] = words.all();
        assert_eq!((method, target), ("GET", "/"));
        assert!(long.starts_with(authority) && authority == id);
        assert_eq!(authority.len(), ACCESS_WORD_BYTES - 1);
    }
}
