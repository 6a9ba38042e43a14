//! Figures as people read them, and as JSON tells them. Pure.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weft_wire::proto::weft::v1::{Party, Traffic};

/// What nothing can be told of.
pub(crate) const NOTHING: &str = "-";

/// The share of what succeeded: of requests and of connections that ended; `None` of none.
pub(crate) fn success(traffic: &Traffic) -> Option<f64> {
    let failed = traffic.failed_requests + traffic.failed_connections;
    share((traffic.requests + traffic.closed).saturating_sub(failed), traffic.requests + traffic.closed)
}

/// A share from 0 to 1; `None` of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// `99.87%`; never 100% of what isn't whole.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => NOTHING.to_owned(),
        Some(1.0) => "100%".to_owned(),
        Some(share) => exact_percent(share),
    }
}

/// A share as `99.87%` and `100.00%`, cut as [`percent`] is.
pub(crate) fn exact_percent(share: f64) -> String {
    format!("{:.2}%", (share * 1e4).floor() / 1e2)
}

/// So many in a second.
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    // A mesh that began just now: better too low than without bound.
    count as f64 / seconds.max(1.0)
}

/// A rate with as many digits as matter; nothing of none.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => NOTHING.to_owned(),
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// Microseconds as `340µs`, `1.2ms`, `34ms` or `1.2s`.
pub(crate) fn latency(us: Option<u64>) -> String {
    match us {
        None => NOTHING.to_owned(),
        Some(us @ 0..1_000) => format!("{us}µs"),
        Some(us @ 1_000..10_000) => format!("{:.1}ms", us as f64 / 1e3),
        Some(us @ 10_000..1_000_000) => format!("{}ms", us / 1_000),
        Some(us) => format!("{:.1}s", us as f64 / 1e6),
    }
}

/// Bytes in powers of 1,024.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = "B";
    while value >= 1_024.0
        && let Some(next) = units.next()
    {
        value /= 1_024.0;
        unit = next;
    }
    match (bytes, unit) {
        (0, _) => NOTHING.to_owned(),
        (_, "B") => format!("{bytes}B"),
        _ => format!("{value:.1}{unit}"),
    }
}

/// A count; nothing of none.
pub(crate) fn count(count: u64) -> String {
    if count == 0 { NOTHING.to_owned() } else { count.to_string() }
}

/// A span as `5s`, `12m`, `3h` or `2d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds since the Unix epoch as RFC 3339, in UTC.
pub(crate) fn instant(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| NOTHING.to_owned())
}

/// A time as RFC 3339, in UTC.
pub(crate) fn time(time: std::time::SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_else(|_| NOTHING.to_owned())
}

/// Text, or nothing where there is none.
pub(crate) fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// An application as JSON tells it.
#[derive(Debug, Serialize)]
pub(crate) struct App {
    pub(crate) namespace: String,
    pub(crate) app: String,
    pub(crate) identity: Option<String>,
}

impl App {
    /// Of a message.
    pub(crate) fn of(party: Option<Party>) -> Self {
        let Party { namespace, app, principal, .. } = party.unwrap_or_default();
        Self { namespace, app, identity: text(&principal) }
    }

    /// `NAMESPACE/APP`, as tables show it.
    pub(crate) fn label(&self) -> String {
        match (&*self.namespace, &*self.app) {
            ("unknown" | "", "unknown" | "") => NOTHING.to_owned(),
            (namespace, app) => format!("{namespace}/{app}"),
        }
    }
}

/// Connections as JSON tells them.
#[derive(Debug, Serialize)]
pub(crate) struct Tcp {
    pub(crate) open: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) failed: u64,
}

impl Tcp {
    /// Of a message.
    pub(crate) fn of(traffic: &Traffic) -> Self {
        let Traffic { open, opened, closed, failed_connections: failed, .. } = *traffic;
        Self { open, opened, closed, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        assert_eq!(
            (latency(Some(999)), latency(Some(1_234)), latency(Some(34_567))),
            ("999µs".into(), "1.2ms".into(), "34ms".into())
        );
        assert_eq!((latency(Some(1_500_000)), latency(None)), ("1.5s".into(), "-".into()));
        assert_eq!(
            (rate(0.0), rate(1.5), rate(55.55), rate(1234.6)),
            ("-".into(), "1.50".into(), "55.5".into(), "1235".into())
        );
        assert_eq!(
            (bytes(0), bytes(1_023), bytes(1_536), bytes(3 << 40)),
            ("-".into(), "1023B".into(), "1.5KiB".into(), "3.0TiB".into())
        );
        assert_eq!(
            (age(59), age(3_599), age(7_200), age(200_000)),
            ("59s".into(), "59m".into(), "2h".into(), "2d".into())
        );
        assert_eq!(instant(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_share_is_never_flattered() {
        assert_eq!(percent(share(99_999, 100_000)), "99.99%");
        assert_eq!(percent(share(3, 3)), "100%");
        assert_eq!(percent(share(0, 3)), "0.00%");
        assert_eq!(percent(share(0, 0)), "-");
        let traffic =
            Traffic { requests: 8, failed_requests: 1, closed: 2, failed_connections: 1, ..Traffic::default() };
        assert_eq!(success(&traffic), Some(0.8));
    }
}
