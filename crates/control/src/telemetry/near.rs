//! What one proxy's own pod did over the last minutes: it ends with the proxy's stream, so that a mesh
//! remembers its resources for an hour, and of their pods only those that run. Pure.

use std::collections::HashMap;
use std::time::Duration;

use weft_wire::proto::weft::v1::{Party, Reporter, Route, Series};

use super::resource::POD;
use super::slots::Slots;
use super::stat::Count;
use super::sums::Sums;

/// The counts of one pod.
#[derive(Debug)]
pub(crate) struct Near {
    series: Vec<Series>,
    by_labels: HashMap<Series, u32>,
    slots: Slots,
}

impl Default for Near {
    fn default() -> Self {
        Self { series: Vec::new(), by_labels: HashMap::new(), slots: Slots::new(SLOT, SLOTS) }
    }
}

impl Near {
    /// The number of the series with these labels, or of the one that stands for it.
    pub(crate) fn number(&mut self, labels: &Series, own: &str) -> u32 {
        let mut labels = reduced(labels, own);
        if self.series.len() >= MAX_SERIES && !self.by_labels.contains_key(&labels) {
            match labels.reporter() {
                Reporter::Source => labels.destination = None,
                Reporter::Destination => labels.source = None,
            }
            (labels.service, labels.flag) = (None, super::aggregate::NO_FLAG.to_owned());
        }
        *self.by_labels.entry(labels).or_insert_with_key(|labels| {
            self.series.push(labels.clone());
            // There are some hundreds at most.
            self.series.len() as u32 - 1
        })
    }

    /// Counts.
    pub(crate) fn add(&mut self, now: Duration, number: u32, sums: &Sums) {
        self.slots.add(now, number, sums);
    }

    /// What was counted over the last `window`, with what is open now by series, and how long that covers.
    pub(crate) fn counts(
        &self,
        open: &HashMap<u32, u64>,
        (now, window): (Duration, Duration),
    ) -> (Vec<Count<'_>>, Duration) {
        let (mut sums, covered) = self.slots.window(now, window);
        for number in open.keys() {
            sums.entry(*number).or_default();
        }
        let count = |(number, sums): (u32, Sums)| {
            let open = open.get(&number).copied().unwrap_or_default();
            self.series.get(number as usize).map(|labels| Count { labels, sums, open })
        };
        (sums.into_iter().filter_map(count).collect(), covered)
    }
}

/// Labels without what nobody asks of a pod: routes, protocols and applications. `own` is the pod.
fn reduced(labels: &Series, own: &str) -> Series {
    let pod = |party: &Option<Party>, name: Option<&str>| {
        party.as_ref().map(|party| Party {
            workload: name.unwrap_or(&party.workload).to_owned(),
            namespace: party.namespace.clone(),
            app: String::new(),
            principal: party.principal.clone(),
            // Who was never chosen is no pod.
            kind: if party.workload == UNKNOWN { String::new() } else { POD.to_owned() },
        })
    };
    let (source, destination) = match labels.reporter() {
        Reporter::Source => (pod(&labels.source, Some(own)), pod(&labels.destination, None)),
        Reporter::Destination => (labels.source.clone(), pod(&labels.destination, Some(own))),
    };
    Series {
        id: 0,
        source,
        destination,
        protocol: String::new(),
        route: labels.route.as_ref().map(|route| Route { route: String::new(), ..route.clone() }),
        ..labels.clone()
    }
}

/// What proxies call a workload that they don't know.
const UNKNOWN: &str = "unknown";
const SLOT: Duration = Duration::from_secs(15);
/// Five minutes, and the slot that isn't full yet.
const SLOTS: usize = 21;
/// Series of one pod; what is beyond keeps no more than its result.
const MAX_SERIES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::connections;

    fn opened(near: &Near, now: u64) -> u64 {
        let hour = Duration::from_secs(3_600);
        let (counts, _) = near.counts(&HashMap::new(), (Duration::from_secs(now), hour));
        counts.iter().map(|count| count.sums.opened).sum()
    }

    #[test]
    fn series_of_a_pod_are_bounded_and_count_all_the_same() {
        let mut near = Near::default();
        let one = Sums { opened: 1, ..Sums::default() };
        for n in 0..3 * MAX_SERIES {
            let number = near.number(&connections(Reporter::Source, ("web", &n.to_string()), "-"), "web-1");
            near.add(Duration::ZERO, number, &one);
        }
        assert_eq!((near.series.len(), opened(&near, 0)), (MAX_SERIES + 1, 3 * MAX_SERIES as u64));
    }

    #[test]
    fn what_a_pod_did_is_forgotten_after_five_minutes() {
        let mut near = Near::default();
        let number = near.number(&connections(Reporter::Source, ("web", "api"), "-"), "web-1");
        near.add(Duration::from_secs(14), number, &Sums { opened: 1, ..Sums::default() });
        assert_eq!((opened(&near, 314), opened(&near, 315)), (1, 0));
    }
}
