//! Waiting for a time of the wall clock: by which certificates live, also while the machine sleeps
//! or somebody sets its clock. Knows nothing of what is waited for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::UnixDatagram;

/// Returns when the wall clock shows `time`, and before it when the clock is set: what was computed
/// by the old time no longer holds.
pub(super) async fn wait_until(time: SystemTime) {
    let waited = match timer(time) {
        Ok(timer) => timer.readable().await,
        Err(error) => Err(error),
    };
    if let Err(error) = waited {
        // Out of descriptors, most likely. This clock stands still while the machine sleeps.
        tracing::warn!(%error, "the wall clock can't be watched");
        tokio::time::sleep(time.duration_since(SystemTime::now()).unwrap_or_default().max(PAUSE)).await;
    }
}

/// Becomes readable then (timerfd_create(2)): at once, when `time` is over. Only readiness is asked
/// of it, so that it may pass for a kind of socket that the runtime knows.
fn timer(time: SystemTime) -> io::Result<UnixDatagram> {
    let at = TimeSpec::from_duration(time.duration_since(UNIX_EPOCH).unwrap_or_default().max(PAUSE));
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(at), flags)?;
    UnixDatagram::from_std(OwnedFd::from(timer).into())
}

/// Nothing would disarm the timer, or have the caller go round without a rest.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_over_is_not_waited_for() {
        wait_until(UNIX_EPOCH).await;
        wait_until(SystemTime::now()).await;
    }

    #[tokio::test]
    async fn the_time_has_come_when_it_returns() {
        let time = SystemTime::now() + Duration::from_millis(30);
        wait_until(time).await;
        assert!(SystemTime::now() >= time);
    }

    /// Others wait meanwhile: the thread goes on.
    #[tokio::test]
    async fn what_is_far_away_is_waited_for() {
        let day = SystemTime::now() + Duration::from_secs(86_400);
        let waited = tokio::time::timeout(Duration::from_millis(50), wait_until(day)).await;
        assert!(waited.is_err(), "it didn't wait");
    }
}
