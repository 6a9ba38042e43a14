//! Nothing that is counted is lost, and nothing that is kept grows without bound.

use proptest::prelude::*;

use super::*;
use crate::telemetry::fixtures::{WINDOW, at, closed, connections, opened, requests, took};
use weft_wire::proto::weft::v1::Reporter;

fn sum<'a>(sums: impl Iterator<Item = &'a Sums>) -> Sums {
    sums.fold(Sums::default(), |mut whole, sums| {
        whole.add(sums);
        whole
    })
}

fn total(aggregate: &Aggregate) -> Sums {
    sum(aggregate.entries().map(|entry| &entry.total))
}

fn within(aggregate: &Aggregate, now: Duration, window: Duration) -> Sums {
    sum(aggregate.window(now, window).0.values())
}

#[test]
fn a_window_forgets_and_sums_do_not() {
    let mut aggregate = Aggregate::default();
    let web = aggregate.number(connections(Reporter::Destination, ("web", "api"), "-"));
    aggregate.add(at(3), web, &opened(1), Age::Fresh);
    aggregate.add(at(62), web, &opened(2), Age::Fresh);
    let opened_within = |now, window| within(&aggregate, at(now), window).opened;
    assert_eq!(opened_within(62, WINDOW), 3, "the slot that the window touches counts whole");
    assert_eq!(opened_within(65, WINDOW), 2);
    assert_eq!(opened_within(121, WINDOW), 2);
    assert_eq!(opened_within(126, WINDOW), 0);
    assert_eq!(opened_within(126, at(3_600)), 3);
    assert_eq!(opened_within(3_700, at(3_600)), 2);
    assert_eq!(total(&aggregate).opened, 3);
    assert_eq!(aggregate.window(at(62), WINDOW).1, at(62));
    assert_eq!(aggregate.window(at(1_003), WINDOW).1, at(63));
    assert_eq!(aggregate.window(at(9_000), at(9_000)).1, at(3_600), "an hour is kept");
}

#[test]
fn what_comes_late_has_no_rate() {
    let mut aggregate = Aggregate::default();
    let web = aggregate.number(connections(Reporter::Destination, ("web", "api"), "-"));
    aggregate.add(at(3), web, &opened(5), Age::Late);
    assert_eq!(within(&aggregate, at(3), WINDOW), Sums::default());
    assert_eq!(total(&aggregate).opened, 5);
}

#[test]
fn routes_of_a_service_are_bounded() {
    let mut aggregate = Aggregate::default();
    let numbers: HashSet<u32> =
        (0..MAX_ROUTES + 100).map(|n| aggregate.number(requests(&format!("GET /{n}"), 200))).collect();
    assert_eq!(numbers.len(), MAX_ROUTES + 1);
    let again = aggregate.number(requests("GET /0", 200));
    assert!(numbers.contains(&again));
    let other = connections(Reporter::Destination, ("web", "other-api"), "-");
    let route = Some(Route { route: "GET /new".to_owned(), code: 200, ..Route::default() });
    let number = aggregate.number(Series { route, ..other });
    assert_eq!(aggregate.labels(number).unwrap().route.as_ref().unwrap().route, "GET /new");
}

#[test]
fn series_are_bounded_and_count_all_the_same() {
    let mut aggregate = Aggregate::default();
    let many = MAX_SERIES + 2 * MAX_OTHERS;
    for n in 0..many {
        let number = aggregate.number(connections(Reporter::Source, ("web", &n.to_string()), "-"));
        aggregate.add(at(1), number, &opened(1), Age::Fresh);
    }
    assert!(aggregate.series.len() <= MAX_SERIES + MAX_OTHERS + 16, "{}", aggregate.series.len());
    assert_eq!(total(&aggregate).opened, many as u64);
    assert_eq!(within(&aggregate, at(1), WINDOW).opened, many as u64);
}

#[test]
fn texts_are_cut_between_characters() {
    let mut aggregate = Aggregate::default();
    let long = "é".repeat(MAX_TEXT_BYTES);
    let number = aggregate.number(requests(&format!("x{long}"), 200));
    let route = &aggregate.labels(number).unwrap().route.as_ref().unwrap().route;
    assert_eq!(route.len(), MAX_TEXT_BYTES - 1);
}

#[test]
fn a_number_that_there_is_not_counts_nothing() {
    let mut aggregate = Aggregate::default();
    aggregate.add(at(1), 7, &opened(1), Age::Fresh);
    assert_eq!(total(&aggregate), Sums::default());
}

#[test]
fn a_window_is_covered_when_the_newest_slot_has_only_begun() {
    let mut aggregate = Aggregate::default();
    let number = aggregate.number(requests("GET /", 200));
    for now in (1..=605).step_by(4) {
        aggregate.add(at(now), number, &opened(1), Age::Fresh);
    }
    assert!(aggregate.window(at(605), at(601)).1 >= at(601));
}

prop_compose! {
    fn event()(
        step in 0u64..400,
        from in 0u32..4,
        route in proptest::option::of(0u32..80),
        count in 0u64..5,
        us in 0u64..10_000_000_000,
    ) -> (u64, Series, Delta) {
        match route {
            Some(route) => (step, requests(&format!("GET /{route}"), 200 + from), took(us, count)),
            None => {
                let series = connections(Reporter::Source, (&format!("c{from}"), "api"), "UF");
                (step, series, closed(count))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However counts are spread over series and time: every sum is that of what came in, and a
    /// window holds what came in since the beginning of its first slot.
    #[test]
    fn sums_are_conserved(events in prop::collection::vec(event(), 0..80), window in 1u64..=3_600) {
        let mut aggregate = Aggregate::default();
        let (mut now, mut came, mut timed) = (0, Sums::default(), Vec::new());
        for (step, series, delta) in events {
            now += step;
            let number = aggregate.number(series);
            aggregate.add(at(now), number, &delta, Age::Fresh);
            came.add(&Sums::of(&delta));
            timed.push((now, Sums::of(&delta)));
        }
        prop_assert_eq!(&total(&aggregate), &came);
        let (found, covered) = aggregate.window(at(now), at(window));
        let begin = now - covered.as_secs();
        let expected = sum(timed.iter().filter(|(time, _)| *time >= begin).map(|(_, sums)| sums));
        prop_assert_eq!(sum(found.values()), expected);
        prop_assert!(covered.as_secs() >= window.min(now) && covered.as_secs() < window + 60);
        let durations: u64 = came.durations.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(durations, came.requests);
    }
}
