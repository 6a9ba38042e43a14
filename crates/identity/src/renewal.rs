//! When to renew a certificate, and when to try again.
//!
//! Pure arithmetic: the caller brings the time and the randomness.

use std::time::{Duration, SystemTime};

use crate::certificate::Certificate;

/// When to renew a certificate that is in use since `from` and holds until `not_after`.
///
/// About two thirds of its life, earlier by up to a tenth of it as `jitter` (0 to 1) says, so that
/// workloads started together don't renew together. A short life keeps 40 s in hand, so that a
/// certificate of 60 s survives an authority that is away for 30 s, but it is never renewed before
/// about a quarter of its life.
///
/// `from` is the time at which it was received, rather than its `notBefore`: that one is set back
/// for other clocks' sake, by more than the whole life of a certificate of seconds.
pub fn renew_at(from: SystemTime, not_after: SystemTime, jitter: f64) -> SystemTime {
    let life = not_after.duration_since(from).unwrap_or_default();
    let latest = life.saturating_sub(IN_HAND).max(life / 3);
    let base = life.mul_f64(USUAL_SHARE).min(latest);
    let early = (life / 10).mul_f64(share(jitter));
    from + base.saturating_sub(early)
}

/// When to renew an issuer: after two thirds of its life. Its `notBefore` counts, since nobody remembers when
/// it was made.
pub fn issuer_due(issuer: &Certificate) -> SystemTime {
    renew_at(issuer.not_before, issuer.not_after, 0.5)
}

/// How long to wait before the next attempt when `attempt` of them (counted from 0) have failed.
///
/// Doubles from a quarter of a second to 2 s, and is shortened by up to a quarter as `jitter` (from
/// 0 to 1) says. The bound is what lets a certificate of 60 s outlive an absence of 30 s; an attempt
/// itself should be given up after 2 s.
pub fn retry_after(attempt: u32, jitter: f64) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << attempt.min(8)).min(LONGEST_WAIT);
    wait - (wait / 4).mul_f64(share(jitter))
}

/// The shortest life of a certificate in use. Its dates are cut to the second and it is renewed
/// after a third of its life, so that two seconds are in hand: enough for a control plane that is
/// started again, and for handshakes that were begun with the old one.
pub const LEAST_LIFETIME: Duration = Duration::from_secs(3);

/// Randomness from outside, made safe to multiply by.
fn share(jitter: f64) -> f64 {
    if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 }
}

/// With half of the spread (a tenth) taken off, this is two thirds.
const USUAL_SHARE: f64 = 2.0 / 3.0 + 0.05;
/// An absence of 30 s, one attempt begun in vain and the longest wait after it, and something over.
const IN_HAND: Duration = Duration::from_secs(40);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn after(life_s: u64, jitter: f64) -> f64 {
        let from = UNIX_EPOCH + Duration::from_secs(1_000_000);
        renew_at(from, from + Duration::from_secs(life_s), jitter).duration_since(from).unwrap().as_secs_f64()
    }

    #[test]
    fn a_day_is_renewed_about_two_thirds_in() {
        let day = 86_400.0;
        assert!((after(86_400, 0.5) / day - 2.0 / 3.0).abs() < 0.001);
        assert!(after(86_400, 0.0) / day < 0.72 && after(86_400, 1.0) / day > 0.61);
        assert!(after(86_400, 0.0) > after(86_400, 1.0));
    }

    #[test]
    fn seconds_are_renewed_within_their_life() {
        for life in 1..=200 {
            for jitter in [0.0, 0.5, 1.0, f64::NAN, -3.0, 9.0] {
                let at = after(life, jitter);
                assert!(at > 0.2 * life as f64 && at < 0.75 * life as f64, "{life} s, jitter {jitter}: {at}");
            }
        }
    }

    #[test]
    fn what_is_over_is_renewed_at_once() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(renew_at(now, now, 0.3), now);
        assert_eq!(renew_at(now, now - Duration::from_secs(5), 0.3), now);
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        assert_eq!(retry_after(0, 0.0), Duration::from_millis(250));
        assert_eq!(retry_after(1, 0.0), Duration::from_millis(500));
        for attempt in [3, 4, 31, u32::MAX] {
            assert_eq!(retry_after(attempt, 0.0), Duration::from_secs(2));
            assert_eq!(retry_after(attempt, 1.0), Duration::from_millis(1500));
        }
    }

    /// Whenever the authority goes away for 30 s, and however slowly each attempt fails, a
    /// certificate of 60 s (59 s: it is cut to the second) is replaced before it ends.
    #[test]
    fn sixty_seconds_outlive_an_absence_of_thirty() {
        for jitter in [0.0, 0.25, 0.5, 0.75, 1.0] {
            for attempt_s in [0.0, 0.5, 2.0] {
                for away_from_ds in 0..600 {
                    let away_from = f64::from(away_from_ds) / 10.0;
                    let away = away_from..away_from + 30.0;
                    let (mut clock, mut attempt) = (after(59, jitter), 0);
                    while away.contains(&clock) {
                        clock += attempt_s + retry_after(attempt, jitter).as_secs_f64();
                        attempt += 1;
                    }
                    assert!(clock < 58.0, "away from {away_from}, attempts of {attempt_s} s: {clock}");
                }
            }
        }
    }
}
