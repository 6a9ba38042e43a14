//! Endpoint choice: power of two choices over a peak-sensitive moving average.
//!
//! Pure: the random number and the time come from the caller. Knows no endpoints, only their
//! places in a list.
//!
//! Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).

use std::time::Duration;

/// Chooses one of `len` endpoints: draws two different ones with the bits of `random`, and takes
/// the one with less `load`. `None` when there are none.
///
/// A `load` may be any number, such as [`PeakEwma::load`] divided by an endpoint's weight. Draws
/// are even to within one in 2³² for each endpoint.
pub fn choose(len: usize, random: u64, load: impl Fn(usize) -> f64) -> Option<usize> {
    if len <= 1 {
        return len.checked_sub(1);
    }
    let first = scaled(random >> 32, len);
    let other = scaled(random & u64::from(u32::MAX), len - 1);
    let second = if other >= first { other + 1 } else { other };
    Some(if load(second) < load(first) { second } else { first })
}

/// A 32-bit number scaled to `0..len`.
fn scaled(bits: u64, len: usize) -> usize {
    // The product is below len << 32, so the result is below len.
    ((u128::from(bits) * len as u128) >> 32) as usize
}

/// What an endpoint costs just now: a moving average of its response times that jumps up at once
/// and sinks with time, times the calls that are on their way to it.
///
/// A time is a `Duration` since any epoch that its caller keeps to; one that runs backwards counts
/// as standing still.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakEwma {
    /// Nanoseconds.
    cost: f64,
    observed: Duration,
    /// Nanoseconds.
    decay: f64,
    pending: u32,
}

impl PeakEwma {
    /// An endpoint of which nothing is known yet. It starts at the cost `assumed`: so a new one
    /// gets its share, not everything. `decay` is the time in which an old cost sinks to 1/e.
    pub fn new(assumed: Duration, decay: Duration, now: Duration) -> Self {
        Self { cost: nanos(assumed), observed: now, decay: nanos(decay).max(1.0), pending: 0 }
    }

    /// A call sets out.
    pub fn begin(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    /// A call that had begun is over, however it ended.
    pub fn end(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// How many calls are on their way.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Takes a response time into account. A failure may be told as a long one.
    pub fn observe(&mut self, rtt: Duration, now: Duration) {
        let rtt = nanos(rtt);
        let kept = self.kept(now);
        self.cost = if rtt > self.cost { rtt } else { self.cost * kept + rtt * (1.0 - kept) };
        self.observed = self.observed.max(now);
    }

    /// The load at a time, in nanoseconds: higher is worse, never negative.
    pub fn load(&self, now: Duration) -> f64 {
        (self.cost * self.kept(now)).max(LEAST_COST_NS) * (f64::from(self.pending) + 1.0)
    }

    /// The share of the old cost that still counts, from 1 down to 0.
    fn kept(&self, now: Duration) -> f64 {
        (-nanos(now.saturating_sub(self.observed)) / self.decay).exp()
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Below this, response times say nothing, and endpoints are told apart by what is pending.
const LEAST_COST_NS: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fresh() -> PeakEwma {
        PeakEwma::new(10 * MS, 10_000 * MS, Duration::ZERO)
    }

    #[test]
    fn the_only_endpoint_is_chosen_and_of_none_none() {
        assert_eq!(choose(0, 7, |_| 0.0), None);
        assert_eq!(choose(1, 7, |_| f64::NAN), Some(0));
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_with_time() {
        let mut load = fresh();
        load.observe(500 * MS, 100 * MS);
        assert_eq!(load.load(100 * MS), 500e6);
        let later = load.load(10_100 * MS);
        assert!((later / 500e6 - (-1f64).exp()).abs() < 1e-9, "{later}");
    }

    #[test]
    fn a_fast_answer_counts_by_the_time_since_the_last() {
        let mut load = fresh();
        load.observe(MS, Duration::ZERO);
        assert_eq!(load.load(Duration::ZERO), 10e6, "no time has passed");
        load.observe(MS, 1_000_000 * MS);
        assert!((load.load(1_000_000 * MS) - 1e6).abs() < 1.0);
    }

    #[test]
    fn pending_calls_weigh_even_when_the_cost_is_forgotten() {
        let (mut busy, idle) = (fresh(), fresh());
        busy.begin();
        busy.begin();
        let long_after = Duration::from_secs(1_000_000);
        assert_eq!(busy.load(long_after), 3.0 * idle.load(long_after));
        busy.end();
        assert_eq!(busy.pending(), 1);
        busy.end();
        busy.end();
        assert_eq!(busy, idle);
    }

    #[test]
    fn a_clock_that_runs_backwards_stands_still() {
        let mut load = PeakEwma::new(10 * MS, MS, 100 * MS);
        load.observe(5 * MS, 50 * MS);
        assert_eq!(load.load(20 * MS), 10e6);
    }
}
