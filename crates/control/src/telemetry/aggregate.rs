//! The hour that the control plane remembers: series by their labels, their sums since the
//! beginning, and their sums over time. Pure; every count that comes in is counted once, under its
//! own labels or, beyond a bound, under `other`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use weft_wire::proto::weft::v1::{Delta, Party, Route, Series, ServiceName};

use super::slots::Slots;
use super::sums::{Sizes, Sums};

/// What all proxies have told.
#[derive(Debug)]
pub(crate) struct Aggregate {
    series: Vec<Entry>,
    by_labels: HashMap<Series, u32>,
    /// The routes of each service that have a name of their own.
    routes: HashMap<(String, String), HashSet<String>>,
    recent: Slots,
    hour: Slots,
}

/// One series: its labels (with id 0), and everything that was ever counted.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) labels: Series,
    pub(crate) total: Sums,
    pub(crate) sizes: Sizes,
}

/// Whether counts belong to the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// They were made since the last report.
    Fresh,
    /// They gathered while nobody listened: no rate can be told of them.
    Late,
}

impl Default for Aggregate {
    fn default() -> Self {
        Self {
            series: Vec::new(),
            by_labels: HashMap::new(),
            routes: HashMap::new(),
            recent: Slots::new(RECENT_SLOT, RECENT_SLOTS),
            hour: Slots::new(HOUR_SLOT, HOUR_SLOTS),
        }
    }
}

impl Aggregate {
    /// The number of the series with these labels, or of the one that stands for it.
    pub(crate) fn number(&mut self, labels: Series) -> u32 {
        let mut labels = self.bounded(labels);
        if let Some(number) = self.by_labels.get(&labels) {
            return *number;
        }
        if self.series.len() >= MAX_SERIES {
            labels = if self.series.len() < MAX_SERIES + MAX_OTHERS { other(labels) } else { other_service(&labels) };
        }
        match self.by_labels.get(&labels) {
            Some(number) => *number,
            None => {
                // There are at most `MAX_SERIES + MAX_OTHERS` and the few of the last resort.
                let number = self.series.len() as u32;
                self.series.push(Entry { labels: labels.clone(), total: Sums::default(), sizes: Sizes::default() });
                self.by_labels.insert(labels, number);
                number
            }
        }
    }

    /// Counts what a proxy told of a series. `now` is counted from the control plane's beginning.
    pub(crate) fn add(&mut self, now: Duration, number: u32, delta: &Delta, age: Age) {
        let Some(entry) = self.series.get_mut(number as usize) else { return };
        let sums = Sums::of(delta);
        if sums == Sums::default() {
            return;
        }
        entry.total.add(&sums);
        entry.sizes.add(&delta.request_sizes, &delta.response_sizes);
        if age == Age::Fresh {
            self.recent.add(now, number, &sums);
            self.hour.add(now, number, &sums);
        }
    }

    /// What was counted over the last `window`, by series, and how long that really covers.
    pub(crate) fn window(&self, now: Duration, window: Duration) -> (HashMap<u32, Sums>, Duration) {
        let slots = if window <= self.recent.reach() { &self.recent } else { &self.hour };
        slots.window(now, window)
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize).map(|entry| &entry.labels)
    }

    /// Every series with its sums since the beginning.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.series.iter()
    }

    /// Labels as they are kept: no id, texts cut, and at most so many routes for a service.
    fn bounded(&mut self, mut labels: Series) -> Series {
        labels.id = 0;
        texts(&mut labels).for_each(cut);
        let Some(route) = &mut labels.route else { return labels };
        let service = labels.service.clone().unwrap_or_default();
        let routes = self.routes.entry((service.namespace, service.name)).or_default();
        if !routes.contains(&route.route) {
            if routes.len() < MAX_ROUTES {
                routes.insert(route.route.clone());
            } else {
                route.route = text();
            }
        }
        labels
    }
}

/// What stands for labels for which there is no room: their service is still told.
fn other(labels: Series) -> Series {
    let route = labels.route.map(|route| Route { route: text(), code: route.code, grpc_status: String::new() });
    Series { id: 0, source: Some(party()), destination: Some(party()), route, ..labels }
}

/// What stands for labels when there isn't even room for that.
fn other_service(labels: &Series) -> Series {
    Series {
        id: 0,
        reporter: labels.reporter().into(),
        source: Some(party()),
        destination: Some(party()),
        service: Some(ServiceName { host: text(), name: text(), namespace: text() }),
        protocol: text(),
        security: text(),
        flag: NO_FLAG.to_owned(),
        route: labels.route.as_ref().map(|_| Route { route: text(), ..Route::default() }),
    }
}

fn text() -> String {
    OTHER.to_owned()
}

fn party() -> Party {
    Party { workload: text(), namespace: text(), app: text(), ..Party::default() }
}

/// Every text of the labels.
fn texts(labels: &mut Series) -> impl Iterator<Item = &mut String> {
    let parties = [&mut labels.source, &mut labels.destination].into_iter().flatten();
    let parties = parties.flat_map(|p| [&mut p.workload, &mut p.namespace, &mut p.app, &mut p.principal, &mut p.kind]);
    let service = labels.service.iter_mut().flat_map(|s| [&mut s.host, &mut s.name, &mut s.namespace]);
    let route = labels.route.iter_mut().flat_map(|r| [&mut r.route, &mut r.grpc_status]);
    parties.chain(service).chain(route).chain([&mut labels.protocol, &mut labels.security, &mut labels.flag])
}

/// Cuts a text to [`MAX_TEXT_BYTES`], between characters.
fn cut(text: &mut String) {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
}

/// Labels for all that came after a bound.
pub(crate) const OTHER: &str = "other";
/// The flag when nothing went wrong.
pub(crate) const NO_FLAG: &str = "-";
const RECENT_SLOT: Duration = Duration::from_secs(5);
/// Ten minutes, and the slot that isn't full yet.
const RECENT_SLOTS: usize = 121;
const HOUR_SLOT: Duration = Duration::from_secs(60);
const HOUR_SLOTS: usize = 61;
/// Series of the whole mesh; 0.7 KiB each, and 0.1 KiB for each slot in which it is counted.
const MAX_SERIES: usize = 8_192;
/// Series that stand for the others of their service.
const MAX_OTHERS: usize = 1_024;
/// Routes of one service.
const MAX_ROUTES: usize = 50;
/// A SPIFFE ID may have 2,048 bytes; those that people give have far less.
const MAX_TEXT_BYTES: usize = 512;

#[cfg(test)]
mod tests;
