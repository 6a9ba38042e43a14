use std::time::Duration;

use weft_wire::proto::weft::v1::TapFilter;

use super::*;
use crate::metrics::{Labels, Party, Reporter, ServiceName};

fn record() -> AccessRecord {
    let name = || "web".into();
    let service = ServiceName { host: name(), name: name(), namespace: name() };
    let (source, destination) = (Party::unknown(), Party { workload: name(), ..Party::unknown() });
    let reporter = Reporter::Destination;
    let labels = Labels { reporter, source, destination, service, protocol: "tcp", security: "none" };
    AccessRecord::of_connection(labels, SystemTime::now() - Duration::from_secs(1))
}

fn watching(workload: &str) -> Taps {
    let taps = Taps::default();
    let filter = TapFilter { workload: workload.to_owned(), ..TapFilter::default() };
    taps.watch(vec![NumberedFilter { number: 7, filter: Some(filter) }]);
    taps
}

#[test]
fn what_lasts_is_told_as_open_once_and_again_at_its_end() {
    let taps = watching("web");
    let long = taps.begin(&record());
    let short = taps.begin(&record());
    assert_eq!(taps.take(), (vec![], 0), "they have just begun");
    drop(short);
    let (told, _) = taps.take();
    assert_eq!((told.len(), told[0].open, &*told[0].numbers), (1, true, &[7][..]));
    assert!(told[0].duration_us >= 1_000_000, "how long it has lasted: {told:?}");
    assert_eq!(taps.take().0, []);
    taps.see(&record());
    drop(long);
    let (told, _) = taps.take();
    assert_eq!((told.len(), told[0].open), (1, false));
    assert!(taps.open.borrow().is_empty());
}

#[test]
fn nothing_is_kept_of_what_nobody_watches_for() {
    assert!(watching("api").begin(&record()).is_none());
    let taps = watching("web");
    let open = taps.begin(&record());
    taps.watch(Vec::new());
    assert!(taps.open.borrow().is_empty());
    drop(open);
}

#[test]
fn what_is_kept_is_bounded() {
    let taps = watching("web");
    let kept: Vec<_> = (0..TAP_EVENTS + 3).filter_map(|_| taps.begin(&record())).collect();
    assert_eq!(kept.len(), TAP_EVENTS);
    drop(kept);
    assert!(taps.begin(&record()).is_some());
}
