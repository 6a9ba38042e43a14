//! What is counted of one series: plain sums, and histograms of durations and sizes. Adding is all
//! that is ever done to them, so that however they are split over time, the whole is the same.

use weft_wire::histogram::{BUCKETS, SIZE_BUCKETS};
use weft_wire::proto::weft::v1::Delta;

/// The counts of one series over some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) from_caller_bytes: u64,
    pub(crate) from_callee_bytes: u64,
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    /// Buckets of `weft_wire::histogram` in order, and what each got.
    pub(crate) durations: Vec<(u16, u64)>,
}

impl Sums {
    /// What a proxy told. Buckets that there are not count as the last one.
    pub(crate) fn of(delta: &Delta) -> Self {
        let mut sums = Self {
            opened: delta.opened,
            closed: delta.closed,
            from_caller_bytes: delta.from_caller_bytes,
            from_callee_bytes: delta.from_callee_bytes,
            requests: delta.requests,
            duration_us: delta.duration_us,
            durations: Vec::new(),
        };
        for (bucket, count) in delta.buckets.iter().zip(&delta.counts) {
            let bucket = usize::try_from(*bucket).unwrap_or(BUCKETS).min(BUCKETS - 1);
            sums.count(bucket as u16, *count);
        }
        sums
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.opened, other.opened),
            (&mut self.closed, other.closed),
            (&mut self.from_caller_bytes, other.from_caller_bytes),
            (&mut self.from_callee_bytes, other.from_callee_bytes),
            (&mut self.requests, other.requests),
            (&mut self.duration_us, other.duration_us),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
        for (bucket, count) in &other.durations {
            self.count(*bucket, *count);
        }
    }

    /// The histogram, as `weft_wire::histogram::quantile` takes it.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (usize, u64)> + Clone {
        self.durations.iter().map(|(bucket, count)| (usize::from(*bucket), *count))
    }

    fn count(&mut self, bucket: u16, count: u64) {
        match self.durations.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.durations[at].1 = self.durations[at].1.saturating_add(count),
            Err(at) => self.durations.insert(at, (bucket, count)),
        }
    }
}

/// How large requests and responses were, by buckets of `weft_wire::histogram::size_bucket`, up to the
/// last that got anything. No window asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) requests: Vec<u64>,
    pub(crate) responses: Vec<u64>,
}

impl Sizes {
    /// Adds the counts of some requests and responses. Buckets that there are not count as the last one.
    pub(crate) fn add(&mut self, requests: &[u64], responses: &[u64]) {
        for (sums, more) in [(&mut self.requests, requests), (&mut self.responses, responses)] {
            for (bucket, count) in more.iter().enumerate() {
                let bucket = bucket.min(SIZE_BUCKETS - 1);
                if sums.len() <= bucket {
                    sums.resize(bucket + 1, 0);
                }
                sums[bucket] = sums[bucket].saturating_add(*count);
            }
        }
    }
}
