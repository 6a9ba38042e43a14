//! What the requests of one series add to its routes until the next report. A report takes it, so
//! that it holds what changed and nothing else.

use std::cell::RefCell;
use std::time::Duration;

use weft_wire::histogram::{bucket, size_bucket};
use weft_wire::proto::weft::v1::Delta;

use super::route::RouteId;

/// The routes of one series of requests.
#[derive(Debug, Default)]
pub(crate) struct Routed(RefCell<Vec<Row>>);

#[derive(Debug, Default)]
struct Row {
    route: RouteId,
    /// Its number, once it was told.
    id: Option<u32>,
    requests: u64,
    duration_us: u64,
    from_caller: u64,
    from_callee: u64,
    /// Buckets of `weft_wire::histogram` in order.
    durations: Vec<(u16, u64)>,
    /// Buckets of sizes, up to the last that got anything: of requests, and of responses.
    request_sizes: Vec<u64>,
    response_sizes: Vec<u64>,
}

impl Routed {
    /// Whether requests of this route were counted before.
    pub(super) fn knows(&self, route: RouteId) -> bool {
        self.0.borrow().iter().any(|row| row.route == route)
    }

    /// Counts a request: how long it took, and the bytes of caller and callee.
    pub(super) fn count(&self, route: RouteId, took: Duration, (from_caller, from_callee): (u64, u64)) {
        let mut rows = self.0.borrow_mut();
        let at = rows.iter().position(|row| row.route == route).unwrap_or_else(|| {
            rows.push(Row { route, ..Row::default() });
            rows.len() - 1
        });
        let row = &mut rows[at];
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        row.requests += 1;
        row.duration_us = row.duration_us.saturating_add(us);
        row.from_caller += from_caller;
        row.from_callee += from_callee;
        // There are some hundreds of buckets.
        let bucket = bucket(us) as u16;
        match row.durations.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => row.durations[at].1 += 1,
            Err(at) => row.durations.insert(at, (bucket, 1)),
        }
        for (sizes, bytes) in [(&mut row.request_sizes, from_caller), (&mut row.response_sizes, from_callee)] {
            let bucket = size_bucket(bytes);
            if sizes.len() <= bucket {
                sizes.resize(bucket + 1, 0);
            }
            sizes[bucket] += 1;
        }
    }

    /// Takes what was counted since the last time, route by route; `name` numbers a new one.
    pub(super) fn take(&self, mut name: impl FnMut(RouteId) -> u32, deltas: &mut Vec<Delta>) {
        for row in self.0.borrow_mut().iter_mut().filter(|row| row.requests > 0) {
            let id = *row.id.get_or_insert_with(|| name(row.route));
            deltas.push(Delta {
                id,
                requests: std::mem::take(&mut row.requests),
                duration_us: std::mem::take(&mut row.duration_us),
                from_caller_bytes: std::mem::take(&mut row.from_caller),
                from_callee_bytes: std::mem::take(&mut row.from_callee),
                buckets: row.durations.iter().map(|(bucket, _)| (*bucket).into()).collect(),
                counts: row.durations.iter().map(|(_, count)| *count).collect(),
                request_sizes: std::mem::take(&mut row.request_sizes),
                response_sizes: std::mem::take(&mut row.response_sizes),
                ..Delta::default()
            });
            row.durations.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::Routes;
    use super::*;

    #[test]
    fn what_is_taken_is_told_once() {
        let (routes, routed) = (Routes::default(), Routed::default());
        let (a, b) = (routes.of("GET", "/a"), routes.of("GET", "/b"));
        routed.count(a, Duration::from_millis(3), (10, 20));
        routed.count(a, Duration::from_millis(3), (10, 20));
        routed.count(b, Duration::from_secs(1), (1, 2));
        let (mut named, mut deltas) = (Vec::new(), Vec::new());
        let mut take = |deltas: &mut Vec<Delta>| {
            routed.take(
                |route| {
                    named.push(route);
                    named.len() as u32
                },
                deltas,
            );
        };
        take(&mut deltas);
        assert_eq!((deltas.len(), deltas[0].requests, deltas[0].duration_us), (2, 2, 6_000));
        assert_eq!((deltas[0].from_caller_bytes, deltas[0].from_callee_bytes, &*deltas[0].counts), (20, 40, &[2][..]));
        assert_eq!((&*deltas[0].request_sizes, &*deltas[0].response_sizes), (&[0, 0, 0, 2][..], &[0, 0, 0, 0, 2][..]));
        deltas.clear();
        take(&mut deltas);
        assert_eq!(deltas, []);
        routed.count(b, Duration::ZERO, (0, 0));
        take(&mut deltas);
        assert_eq!((deltas[0].id, deltas[0].requests, &*deltas[0].buckets), (2, 1, &[0][..]));
        assert!(routed.knows(a) && !routed.knows(RouteId::default()));
        assert_eq!(named, [a, b]);
    }
}
