//! `weft proxy-status`: which proxy runs which version, and whether it has what it should have.

use std::process::ExitCode;

use serde::Serialize;
use weft_wire::proto::weft::v1::{ProxiesRequest, ProxyState};

use crate::args::{Format, ProxyStatusArgs};
use crate::failure::Failure;
use crate::home::Mesh;
use crate::{client, figures, print};

/// Prints a line for each proxy.
pub(crate) fn run(mesh: &Mesh, args: &ProxyStatusArgs) -> Result<ExitCode, Failure> {
    let answer = crate::runtime::of_this_thread()?.block_on(async {
        let mut observer = client::observe(mesh).await?;
        let answer = observer.proxies(ProxiesRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| client::refused("read the proxies", &status))
    })?;
    let now = super::now();
    let rows: Vec<Row> = answer.proxies.into_iter().map(|proxy| Row::of(proxy, now)).collect();
    let rows: Vec<Row> = rows.into_iter().filter(|row| is_asked(row, args)).collect();
    if let (true, Some(name)) = (rows.is_empty(), &args.workload) {
        return Err(Failure::new(format!("no proxy of {name} is known")).hint("see all of them: weft proxy-status"));
    }
    match args.read.output {
        Format::Json => print::json(&rows),
        Format::Text if rows.is_empty() => print::note("weft: no proxies found"),
        Format::Text => {
            print::line(&table(&rows));
            for (row, reason) in rows.iter().flat_map(|row| row.refused.iter().map(move |reason| (row, reason))) {
                let name = format!("{}/{}", row.namespace, row.name);
                print::note(&print::tame(&format!("weft: the proxy of {name} refused {reason}")));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_asked(row: &Row, args: &ProxyStatusArgs) -> bool {
    let within = args.namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace);
    within && args.workload.as_ref().is_none_or(|name| *name == row.name || *name == row.full_name())
}

/// How far a proxy follows its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Records {
    /// It has acknowledged the newest.
    Acked,
    /// A newer one is on its way to it.
    Stale,
    /// It refused one, and keeps the last good one.
    Refused,
    /// It has no stream: it has yet to begin, or has gone.
    Disconnected,
}

#[derive(Debug, Serialize)]
struct Row {
    namespace: String,
    name: String,
    version: Option<String>,
    records: Records,
    refused: Vec<String>,
    destinations: Option<u32>,
    certificate_expires_in_seconds: Option<i64>,
    last_seen_seconds: Option<u64>,
}

impl Row {
    fn of(proxy: ProxyState, now: i64) -> Self {
        let (namespace, name) = proxy.workload.split_once('/').unwrap_or(("", &proxy.workload));
        let records = records(&proxy);
        let health = proxy.health.as_ref();
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            version: health.map(|health| health.version.clone()),
            records,
            destinations: health.map(|health| health.destinations),
            certificate_expires_in_seconds: proxy.certificate.as_ref().map(|leaf| leaf.not_after - now),
            last_seen_seconds: (proxy.last_seen > 0).then(|| u64::try_from(now - proxy.last_seen).unwrap_or(0)),
            refused: proxy.refused,
        }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn cells(&self) -> Vec<String> {
        let nothing = || figures::NOTHING.to_owned();
        let records = match self.records {
            Records::Acked => "acked".to_owned(),
            Records::Stale => "stale".to_owned(),
            Records::Refused => format!("refused {}", self.refused.len()),
            Records::Disconnected => "disconnected".to_owned(),
        };
        let expires = |seconds: i64| u64::try_from(seconds).map_or_else(|_| "expired".to_owned(), figures::age);
        vec![
            print::tame(&self.namespace),
            print::tame(&self.name),
            self.version.as_deref().map_or_else(nothing, print::tame),
            records,
            self.destinations.map_or_else(nothing, |count| count.to_string()),
            self.certificate_expires_in_seconds.map_or_else(nothing, expires),
            self.last_seen_seconds.map_or_else(nothing, |seconds| format!("{} ago", figures::age(seconds))),
        ]
    }
}

fn records(proxy: &ProxyState) -> Records {
    let held = proxy.health.as_ref().map(|health| health.inbound_version.as_str());
    match held {
        _ if proxy.record_streams == 0 => Records::Disconnected,
        _ if !proxy.refused.is_empty() => Records::Refused,
        Some(held) if proxy.unacknowledged == 0 && held == proxy.inbound_version => Records::Acked,
        _ => Records::Stale,
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["NAMESPACE", "NAME", "VERSION", "RECORDS", "DESTINATIONS", "CERT EXPIRES IN", "LAST SEEN"];
    print::table(&head, &rows.iter().map(Row::cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::{Health, Leaf};

    use super::*;

    const NOW: i64 = 1_000_000;

    fn proxy() -> ProxyState {
        let health = Health {
            version: "0.1.0".to_owned(),
            inbound_version: "7".to_owned(),
            destinations: 3,
            ..Health::default()
        };
        ProxyState {
            workload: "shop/payments-7d9f-x1".to_owned(),
            health: Some(health),
            certificate: Some(Leaf { not_after: NOW + 7_200, ..Leaf::default() }),
            record_streams: 1,
            inbound_version: "7".to_owned(),
            last_seen: NOW - 2,
            ..ProxyState::default()
        }
    }

    #[test]
    fn a_line_tells_what_a_proxy_has() {
        let gone = ProxyState { workload: "shop/web-0".to_owned(), ..ProxyState::default() };
        let refuses = ProxyState { refused: vec!["destination a: no".to_owned()], ..proxy() };
        let rows = [proxy(), refuses, gone].map(|proxy| Row::of(proxy, NOW));
        insta::assert_snapshot!(table(&rows), @r"
        NAMESPACE  NAME              VERSION  RECORDS       DESTINATIONS  CERT EXPIRES IN  LAST SEEN
        shop       payments-7d9f-x1  0.1.0    acked         3             2h               2s ago
        shop       payments-7d9f-x1  0.1.0    refused 1     3             2h               2s ago
        shop       web-0             -        disconnected  -             -                -
        ");
    }

    #[test]
    fn an_older_record_is_stale() {
        let older = ProxyState { inbound_version: "8".to_owned(), ..proxy() };
        let waiting = ProxyState { unacknowledged: 1, ..proxy() };
        assert_eq!([older, waiting].map(|proxy| records(&proxy)), [Records::Stale; 2]);
    }
}
