//! The control thread's part: one stream to the control plane, on which series are named once and
//! told as deltas. Whatever happens to the stream, the data thread doesn't notice.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use weft_wire::proto::weft::v1::telemetry_client::TelemetryClient;
use weft_wire::proto::weft::v1::{Delta, Leaf, NumberedFilter, Series, Signals, Watch};

use super::health::health;
use super::{Activity, Ask, ControlEnd, Known, Snapshot};
use crate::control::Link;
use crate::limits::{REPORT_INTERVAL, REPORT_INTERVAL_LEAST, REPORTS};

/// Reports until the data thread has ended and its last words are told, or can't be.
pub(crate) async fn follow(link: &Link, end: ControlEnd, known: watch::Receiver<Known>) {
    let mut reports = Reports::new(end, known);
    let mut attempt = 0u32;
    while !reports.has_ended() {
        match reports.session(link).await {
            Ok(Ended::Told) => return,
            Ok(Ended::Closed) => attempt = 0,
            Err(status) => {
                tracing::debug!(%status, attempt, "nobody takes reports");
                attempt = attempt.saturating_add(1);
            }
        }
        reports.rest(link.retry_after(attempt)).await;
    }
}

struct Reports {
    end: ControlEnd,
    known: watch::Receiver<Known>,
    /// Every series that was ever named, for the next stream.
    named: Vec<Series>,
    /// Open connections by series, likewise.
    open: HashMap<u32, u64>,
    /// What the data thread looks for.
    watching: Vec<NumberedFilter>,
    /// What the data thread had left to tell, once it has ended.
    last: Option<Snapshot>,
    ended: bool,
    streams: u64,
}

enum Ended {
    /// The control plane ended the stream.
    Closed,
    /// The data thread has ended, and everything is told.
    Told,
}

/// One stream's state.
struct Session {
    signals: mpsc::Sender<Signals>,
    interval: Duration,
    /// When the next report is due; `None` while all is quiet.
    due: Option<Instant>,
    /// The greatest flush that was asked for, and that was answered.
    asked: u64,
    flushed: u64,
    leaf: Option<Leaf>,
    /// The next deltas gathered while nobody listened.
    late: bool,
}

impl Reports {
    fn new(end: ControlEnd, known: watch::Receiver<Known>) -> Self {
        let (named, open, watching) = (Vec::new(), HashMap::new(), Vec::new());
        Self { end, known, named, open, watching, last: None, ended: false, streams: 0 }
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits, but not longer than the data thread lives.
    async fn rest(&mut self, wait: Duration) {
        if !self.ended {
            tokio::select! {
                () = sleep(wait) => {}
                last = &mut self.end.last => self.take_last(last),
            }
        }
    }

    /// One stream, from its first report to its end.
    async fn session(&mut self, link: &Link) -> Result<Ended, tonic::Status> {
        let (signals, outgoing) = mpsc::channel(REPORTS);
        let request = link.authorized(ReceiverStream::new(outgoing))?;
        let mut client = TelemetryClient::new(link.channel());
        let mut watches = client.report(request).await?.into_inner();
        let mut session = Session::new(signals, self.streams);
        self.streams += 1;
        let opens = self.open.iter().map(|(id, open)| Delta { id: *id, open: Some(*open), ..Delta::default() });
        let first = Signals { series: self.named.clone(), deltas: opens.collect(), ..Signals::default() };
        if session.signals.send(first).await.is_err() || !self.report(&mut session).await {
            return Ok(Ended::Closed);
        }
        let mut renewed = pin!(link.renewed());
        while !self.ended {
            let due = session.due.unwrap_or_else(Instant::now);
            let goes_on = tokio::select! {
                () = &mut renewed => false,
                watch = watches.message() => match watch? {
                    None => false,
                    Some(watch) => self.obey(&mut session, watch).await,
                },
                () = sleep_until(due), if session.due.is_some() => self.report(&mut session).await,
                () = self.end.touched.notified(), if session.due.is_none() => {
                    session.due = Some(Instant::now() + session.interval);
                    true
                }
                last = &mut self.end.last => {
                    self.take_last(last);
                    true
                }
                Ok(()) = self.known.changed() => {
                    session.hasten(REPORT_INTERVAL_LEAST);
                    true
                }
            };
            if !goes_on {
                return Ok(Ended::Closed);
            }
        }
        self.say_last(session).await;
        // The control plane ends its side when it has read ours.
        while watches.message().await?.is_some() {}
        Ok(Ended::Told)
    }

    fn take_last(&mut self, last: Result<Snapshot, oneshot::error::RecvError>) {
        self.last = last.ok();
        self.ended = true;
    }

    async fn say_last(&mut self, mut session: Session) {
        if let Some(last) = self.last.take() {
            let signals = self.signals(last, &mut session);
            // Then nobody will know.
            let _closed = session.signals.send(signals).await;
        }
    }

    /// Does what the control plane asks. Returns whether the stream goes on.
    async fn obey(&mut self, session: &mut Session, watch: Watch) -> bool {
        session.interval = Duration::from_millis(watch.interval_ms.into()).max(REPORT_INTERVAL_LEAST);
        if session.due.is_some() {
            session.hasten(session.interval);
        }
        if watch.taps != self.watching {
            self.watching = watch.taps;
            // The data thread may have ended, which `last` tells.
            let _ended = self.end.asks.send(Ask::Watch(self.watching.clone())).await;
        }
        session.asked = watch.flush;
        session.asked <= session.flushed || self.report(session).await
    }

    /// Tells what has changed. Returns whether the stream goes on.
    async fn report(&mut self, session: &mut Session) -> bool {
        let (reply, answer) = oneshot::channel();
        let asked = self.end.asks.send(Ask::Snapshot(reply)).await;
        let snapshot = match asked {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        let Some(snapshot) = snapshot else {
            // The data thread has ended, or is just about to say its last words.
            let last = (&mut self.end.last).await;
            self.take_last(last);
            return true;
        };
        session.due = (snapshot.activity == Activity::Busy).then(|| Instant::now() + session.interval);
        let signals = self.signals(snapshot, session);
        session.signals.send(signals).await.is_ok()
    }

    fn signals(&mut self, snapshot: Snapshot, session: &mut Session) -> Signals {
        let known = self.known.borrow_and_update().clone();
        let health = health(&snapshot, &known);
        for delta in &snapshot.deltas {
            match delta.open {
                Some(0) => drop(self.open.remove(&delta.id)),
                Some(open) => drop(self.open.insert(delta.id, open)),
                None => {}
            }
        }
        self.named.extend(snapshot.series.iter().cloned());
        session.flushed = session.asked;
        let certificate = known.leaf.filter(|leaf| session.leaf.as_ref() != Some(leaf));
        session.leaf = certificate.clone().or(session.leaf.take());
        Signals {
            series: snapshot.series,
            deltas: snapshot.deltas,
            late: std::mem::take(&mut session.late),
            health: Some(health),
            certificate,
            taps: snapshot.taps,
            taps_dropped: snapshot.taps_dropped,
            flushed: session.flushed,
        }
    }
}

impl Session {
    fn new(signals: mpsc::Sender<Signals>, streams_before: u64) -> Self {
        let late = streams_before > 0;
        Self { signals, interval: REPORT_INTERVAL, due: None, asked: 0, flushed: 0, leaf: None, late }
    }

    /// The next report is due after `wait` at the latest.
    fn hasten(&mut self, wait: Duration) {
        let latest = Instant::now() + wait;
        self.due = Some(self.due.map_or(latest, |due| due.min(latest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_pace_is_too_fast() {
        let (end, _data) = super::super::channel();
        let (_known, knows) = watch::channel(Known::default());
        let mut reports = Reports::new(end, knows);
        let (signals, _taken) = mpsc::channel(REPORTS);
        let mut session = Session::new(signals, 0);
        for (interval_ms, expected_ms) in [(0, 100), (99, 100), (250, 250)] {
            assert!(reports.obey(&mut session, Watch { interval_ms, ..Watch::default() }).await);
            assert_eq!(session.interval, Duration::from_millis(expected_ms));
        }
    }
}
