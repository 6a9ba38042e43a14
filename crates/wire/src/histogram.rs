//! The histograms that proxies and the control plane agree on. Of durations: buckets that grow with
//! the value, so that a percentile is off by at most 5 %, and whose bounds include all of Istio's,
//! so that its buckets are sums of ours. Of sizes: Istio's own. Pure numbers; microseconds and bytes.

/// The bucket of a duration, from 0 to [`BUCKETS`] - 1. Bounds belong to the bucket below them, as
/// Prometheus's `le` has it.
pub fn bucket(us: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < us)
}

/// The greatest duration of a bucket; `None` for the last one, which has no bound.
pub fn bound(bucket: usize) -> Option<u64> {
    BOUNDS.get(bucket).copied()
}

/// The duration that stands for all of a bucket: within 5 % of each of them above 10 µs.
pub fn middle(bucket: usize) -> u64 {
    let below = bucket.checked_sub(1).and_then(bound).unwrap_or(0);
    bound(bucket).map_or(below, |above| (below + 1).midpoint(above))
}

/// The smallest duration that at least the share `quantile` (0 to 1) of all is not above; `None`
/// of nothing. `counts` come in the order of their buckets.
pub fn quantile(counts: impl Iterator<Item = (usize, u64)> + Clone, quantile: f64) -> Option<u64> {
    let total: u64 = counts.clone().map(|(_, count)| count).sum();
    let rank = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
    let mut seen = 0;
    for (bucket, count) in counts {
        seen += count;
        if seen >= rank {
            return Some(middle(bucket));
        }
    }
    None
}

/// The bucket of a size in bytes, from 0 to [`SIZE_BUCKETS`] - 1: sizes are told by Istio's bounds
/// alone.
pub fn size_bucket(bytes: u64) -> usize {
    ISTIO_BOUNDS.partition_point(|bound| *bound < bytes as f64)
}

/// How many buckets sizes have.
pub const SIZE_BUCKETS: usize = ISTIO_BOUNDS.len() + 1;

/// How many buckets durations have.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The upper bounds that Istio's proxies use for all histograms (Envoy's default): milliseconds of
/// durations, bytes of sizes.
pub const ISTIO_BOUNDS: [f64; 19] =
    [0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6];

/// Upper bounds: 35 to a decade from 10 µs, and an hour as the last.
const BOUNDS: [u64; count_bounds()] = bounds();

const fn count_bounds() -> usize {
    let (mut count, mut bound) = (1, FIRST);
    while bound < HOUR {
        count += 1;
        bound = next(bound);
    }
    count
}

const fn bounds() -> [u64; count_bounds()] {
    let mut bounds = [0; count_bounds()];
    let (mut at, mut bound) = (0, FIRST);
    while bound < HOUR {
        bounds[at] = bound;
        at += 1;
        bound = next(bound);
    }
    bounds[at] = HOUR;
    bounds
}

/// Steps of a tenth of the decade up to 2.5, a quarter up to 5, a half from there: none is above a
/// tenth of its bound.
const fn next(bound: u64) -> u64 {
    let mut decade = FIRST;
    while bound >= decade * 10 {
        decade *= 10;
    }
    if bound * 2 < decade * 5 {
        bound + decade / 10
    } else if bound < decade * 5 {
        // Where a quarter isn't whole, every second step is a little longer.
        let quarter = (bound * 4 + 3) / decade + 1;
        quarter * decade / 4
    } else {
        bound + decade / 2
    }
}

const FIRST: u64 = 10;
const HOUR: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_middle_is_near_to_all_that_it_stands_for() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b), "{BOUNDS:?}");
        for pair in BOUNDS.windows(2) {
            let middle = middle(bucket(pair[1])) as f64;
            for us in [pair[0] + 1, pair[1]] {
                let error = (middle - us as f64).abs() / us as f64;
                assert!(error <= 0.05, "{us} µs for {middle}: {error}");
            }
        }
    }

    #[test]
    fn all_bounds_of_istio_are_ours() {
        for ms in ISTIO_BOUNDS {
            let us = (ms * 1e3) as u64;
            assert_eq!(bound(bucket(us)), Some(us), "{ms} ms");
        }
    }

    #[test]
    fn every_duration_has_a_bucket() {
        assert_eq!((bucket(0), bucket(10), bucket(11)), (0, 0, 1));
        assert_eq!((bucket(HOUR), bucket(HOUR + 1), bucket(u64::MAX)), (BUCKETS - 2, BUCKETS - 1, BUCKETS - 1));
        assert_eq!(middle(BUCKETS - 1), HOUR);
    }

    #[test]
    fn every_size_has_a_bucket() {
        assert_eq!([0, 1, 2, 5, 6].map(size_bucket), [0, 1, 2, 2, 3]);
        assert_eq!((size_bucket(3_600_000), size_bucket(u64::MAX)), (SIZE_BUCKETS - 2, SIZE_BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_near_to_the_true_ones() {
        let mut counts = [0u64; BUCKETS];
        let all: Vec<u64> = (1..=2_000).map(|n| n * n).collect();
        all.iter().for_each(|us| counts[bucket(*us)] += 1);
        let counts = counts.iter().copied().enumerate();
        for (q, rank) in [(0.0, 1), (0.5, 1_000), (0.95, 1_900), (0.99, 1_980), (1.0, 2_000)] {
            let truth = all[rank - 1] as f64;
            let found = quantile(counts.clone(), q).unwrap() as f64;
            assert!((found - truth).abs() <= (truth * 0.05).max(10.0), "{q}: {found} for {truth}");
        }
        assert_eq!(quantile([(3, 0)].into_iter(), 0.5), None);
    }
}
