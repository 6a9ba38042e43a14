//! `weft top`: the calls of now, gathered by who calls whom for what, as they end. What is counted is a
//! pure function of the calls that the proxies tell of; only `follow` waits and prints.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use weft_wire::proto::weft::v1::{Reporter, TapEvent};

use super::tap::{filter, party};
use crate::args::{Format, TopArgs};
use crate::failure::Failure;
use crate::home::Mesh;
use crate::{client, figures, print};

/// Shows the table until it is interrupted, or for as long as was asked for.
pub(crate) fn run(mesh: &Mesh, args: &TopArgs) -> Result<ExitCode, Failure> {
    let calls = crate::runtime::of_this_thread()?.block_on(follow(mesh, args))?;
    match args.read.output {
        Format::Json => print::json(&calls.rows()),
        Format::Text => print::line(&calls.table(usize::MAX)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Gathers calls; on a terminal the table is drawn anew each second meanwhile.
async fn follow(mesh: &Mesh, args: &TopArgs) -> Result<Calls, Failure> {
    let refused = |status: tonic::Status| client::refused("watch calls", &status);
    let filter = filter(mesh, &args.filter).await?;
    let mut observer = client::observe(mesh).await?;
    let mut events = observer.tap(filter).await.map_err(refused)?.into_inner();
    let drawn = args.read.output == Format::Text && print::is_terminal();
    let limit = args.duration.or_else(|| (!drawn).then_some(USUAL_DURATION));
    let end = limit.map(|limit| Instant::now() + limit);
    let mut calls = Calls { hides_sources: args.hide_sources, ..Calls::default() };
    let mut redraw = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = at(end) => return Ok(calls),
            _ = redraw.tick(), if drawn => print::screen(&calls.table(print::height())),
            message = events.message() => match message.map_err(refused)? {
                Some(message) => {
                    calls.lost += message.dropped;
                    message.events.iter().for_each(|event| calls.add(event));
                }
                None => return Err(super::tap::ended(mesh)),
            },
        }
    }
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Calls by what they have in common.
#[derive(Debug, Default)]
struct Calls {
    lines: BTreeMap<Key, Line>,
    hides_sources: bool,
    /// Calls that came too fast, or are of too many kinds.
    lost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    reporter: &'static str,
    source: String,
    destination: String,
    method: String,
    path: String,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    count: u64,
    failed: u64,
    best_us: u64,
    worst_us: u64,
    last_us: u64,
}

/// A line as JSON tells it.
#[derive(Debug, Serialize)]
struct Row {
    reporter: &'static str,
    source: Option<String>,
    destination: String,
    method: String,
    path: String,
    count: u64,
    best_ms: f64,
    worst_ms: f64,
    last_ms: f64,
    success: f64,
}

impl Calls {
    /// Counts a call that has ended.
    fn add(&mut self, event: &TapEvent) {
        if event.open {
            return;
        }
        let key = self.key(event);
        if self.lines.len() >= MAX_LINES && !self.lines.contains_key(&key) {
            self.lost += 1;
            return;
        }
        let took = event.duration_us;
        let new = Line { count: 0, failed: 0, best_us: took, worst_us: took, last_us: took };
        let line = self.lines.entry(key).or_insert(new);
        line.count += 1;
        line.failed += u64::from(has_failed(event));
        line.best_us = line.best_us.min(took);
        line.worst_us = line.worst_us.max(took);
        line.last_us = took;
    }

    fn key(&self, event: &TapEvent) -> Key {
        let service = event.service.as_ref().map(|service| format!("{}/{}", service.namespace, service.name));
        let source =
            if self.hides_sources { String::new() } else { party(event.source.as_ref(), &event.source_address) };
        Key {
            reporter: if event.reporter() == Reporter::Destination { "destination" } else { "source" },
            source,
            destination: service.unwrap_or_else(|| event.destination_address.clone()),
            method: if event.method.is_empty() { event.protocol.clone() } else { event.method.clone() },
            // What stands behind it is each call's own.
            path: event.path.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    /// The most frequent first.
    fn sorted(&self) -> Vec<(&Key, &Line)> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.count));
        lines
    }

    fn rows(&self) -> Vec<Row> {
        let ms = |us: u64| us as f64 / 1e3;
        let row = |(key, line): (&Key, &Line)| Row {
            reporter: key.reporter,
            source: figures::text(&key.source),
            destination: key.destination.clone(),
            method: key.method.clone(),
            path: key.path.clone(),
            count: line.count,
            best_ms: ms(line.best_us),
            worst_ms: ms(line.worst_us),
            last_ms: ms(line.last_us),
            success: line.success(),
        };
        self.sorted().into_iter().map(row).collect()
    }

    /// As many lines as fit.
    fn table(&self, height: usize) -> String {
        let mut head = vec!["SIDE"];
        head.extend((!self.hides_sources).then_some("SOURCE"));
        head.extend(["DESTINATION", "METHOD", "PATH", "COUNT", "BEST", "WORST", "LAST", "SUCCESS"]);
        let row = |(key, line): (&Key, &Line)| {
            let mut cells = vec![if key.reporter == "destination" { "in" } else { "out" }.to_owned()];
            cells.extend((!self.hides_sources).then(|| print::tame(&key.source)));
            cells.extend([print::tame(&key.destination), print::tame(&key.method), print::tame(&key.path)]);
            cells.push(line.count.to_string());
            cells.extend([line.best_us, line.worst_us, line.last_us].map(|us| figures::latency(Some(us))));
            cells.push(figures::exact_percent(line.success()));
            cells
        };
        let rows: Vec<Vec<String>> = self.sorted().into_iter().take(height.saturating_sub(2)).map(row).collect();
        let lost = match self.lost {
            0 => String::new(),
            lost => format!("\n{lost} more calls were too many to be shown"),
        };
        print::table(&head, &rows) + &lost
    }
}

impl Line {
    fn success(&self) -> f64 {
        1.0 - self.failed as f64 / self.count.max(1) as f64
    }
}

/// Refused, without an answer, or answered with the server's own error.
fn has_failed(event: &TapEvent) -> bool {
    let is_request = !event.method.is_empty();
    !event.why.is_empty() || event.verdict == "deny" || is_request && (event.code == 0 || event.code >= 500)
}

/// Where nobody watches it change.
const USUAL_DURATION: Duration = Duration::from_secs(10);
/// More kinds of calls than these help nobody.
const MAX_LINES: usize = 1_000;

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::{Party, ServiceName};

    use super::*;

    fn call(path: &str, code: u32, duration_us: u64) -> TapEvent {
        TapEvent {
            reporter: Reporter::Destination.into(),
            source: Some(Party { namespace: "shop".to_owned(), workload: "web-1".to_owned(), ..Party::default() }),
            service: Some(ServiceName {
                namespace: "shop".to_owned(),
                name: "payments".to_owned(),
                ..ServiceName::default()
            }),
            method: "GET".to_owned(),
            path: path.to_owned(),
            code,
            duration_us,
            ..TapEvent::default()
        }
    }

    fn calls() -> [TapEvent; 5] {
        let open = TapEvent { open: true, ..call("/charge", 0, 1) };
        let tcp =
            TapEvent { method: String::new(), path: String::new(), protocol: "tcp".to_owned(), ..call("", 0, 70_000) };
        [
            call("/charge?card=1", 200, 1_000),
            call("/charge?card=2", 503, 30_000),
            call("/charge", 404, 2_000),
            open,
            tcp,
        ]
    }

    #[test]
    fn calls_are_gathered_by_what_they_have_in_common() {
        let mut all = Calls { lost: 3, ..Calls::default() };
        calls().iter().for_each(|event| all.add(event));
        insta::assert_snapshot!(all.table(24), @r"
        SIDE  SOURCE      DESTINATION    METHOD  PATH     COUNT  BEST   WORST  LAST   SUCCESS
        in    shop/web-1  shop/payments  GET     /charge  3      1.0ms  30ms   2.0ms  66.66%
        in    shop/web-1  shop/payments  tcp              1      70ms   70ms   70ms   100.00%
        3 more calls were too many to be shown
        ");
        let first = serde_json::to_string(&all.rows()[0]).unwrap();
        insta::assert_snapshot!(first, @r#"{"reporter":"destination","source":"shop/web-1","destination":"shop/payments","method":"GET","path":"/charge","count":3,"best_ms":1.0,"worst_ms":30.0,"last_ms":2.0,"success":0.6666666666666667}"#);
        assert_eq!(all.table(3).lines().count(), 3, "{}", all.table(3));
    }

    #[test]
    fn kinds_of_calls_are_bounded() {
        let mut all = Calls { hides_sources: true, ..Calls::default() };
        (0..MAX_LINES + 7).for_each(|number| all.add(&call(&format!("/{number}"), 200, 1)));
        assert_eq!((all.lines.len(), all.lost), (MAX_LINES, 7));
        assert!(!all.table(24).contains("web-1"));
    }
}
