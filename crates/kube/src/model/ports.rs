//! Lists of ports as annotations write them: `25,3306,admin,9000-9010`. Pure; what can't be read is
//! left out here, and told where the annotation is judged.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The ports that an annotation lists, by number and by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PortList {
    ranges: Vec<RangeInclusive<u16>>,
    names: Vec<String>,
}

impl PortList {
    /// Reads a list. An empty one lists nothing, which differs from none at all.
    pub(crate) fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match range(item) {
                Some(range) => list.ranges.push(range),
                None => list.names.push(item.to_owned()),
            }
        }
        list
    }

    /// Whether a port is listed.
    pub(crate) fn has(&self, port: u16, name: Option<&str>) -> bool {
        let named = name.is_some_and(|name| self.names.iter().any(|listed| listed == name));
        named || self.ranges.iter().any(|range| range.contains(&port))
    }

    /// The listed numbers, each once; of more than can matter the first.
    pub(crate) fn numbers(&self) -> BTreeSet<u16> {
        self.ranges.iter().cloned().flatten().take(MAX_NUMBERS).collect()
    }
}

fn range(item: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let first: u16 = first.trim().parse().ok()?;
    let last: u16 = last.trim().parse().ok()?;
    (0 < first && first <= last).then_some(first..=last)
}

/// A proxy needs no more of them one by one: a port that isn't known to be opaque is only looked at.
const MAX_NUMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ranges_and_names_are_listed() {
        let list = PortList::parse(" 25, 9000-9010,admin,,my-port ,0,70000,9-3");
        assert!(list.has(25, None) && list.has(9000, None) && list.has(9010, None));
        assert!(list.has(1, Some("admin")) && list.has(1, Some("my-port")));
        for port in [0, 24, 26, 8999, 9011, 5] {
            assert!(!list.has(port, Some("http")), "{port}");
        }
        assert_eq!(list.numbers().len(), 12);
        assert_eq!(PortList::parse("1-65535").numbers().len(), MAX_NUMBERS);
        assert!(!PortList::parse("").has(25, None));
    }
}
