//! Times as certificates write them: whole seconds since 1970.
//!
//! Knows no clock: it only converts what it is given.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time as `rcgen` wants it, cut to the second; `None` before 1970 or after the year 9999.
pub(crate) fn to_calendar(time: SystemTime) -> Option<OffsetDateTime> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

/// The time that many seconds after 1970 (before it, when negative).
pub(crate) fn from_seconds(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// A time in a message: RFC 3339, UTC.
pub(crate) fn text(time: SystemTime) -> String {
    to_calendar(time).and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{time:?}"))
}
