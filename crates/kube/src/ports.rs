//! Lists of ports as annotations write them: `80,90-95`, and with ports' names among them. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Ports and ranges of ports, each from 1 to 65535.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortList(Vec<(u16, u16)>);

impl PortList {
    /// Every port.
    pub fn all() -> Self {
        Self(vec![(1, u16::MAX)])
    }

    /// Whether no port is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a port is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// Adds another list's ports.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match merged.last_mut().filter(|before| first <= before.1.saturating_add(1)) {
                Some(before) => before.1 = before.1.max(last),
                None => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }
}

impl FromStr for PortList {
    type Err = String;

    /// Spaces and empty parts are passed over, as in `80, 443,`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for part in parts(text) {
            let range = range(part).ok_or_else(|| format!("expected ports such as 80,90-95, found {part:?}"))?;
            list.extend(Self(vec![range]));
        }
        Ok(list)
    }
}

/// Ports by number and by name, as `config.linkerd.io/opaque-ports` lists them. What is neither is taken
/// for the name of a port that nobody has; it is told where the annotation is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedPorts {
    numbers: PortList,
    names: BTreeSet<String>,
}

impl NamedPorts {
    /// Reads a list. An empty one lists nothing, which differs from none at all.
    pub(crate) fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for part in parts(text) {
            match range(part) {
                Some(range) => list.numbers.extend(PortList(vec![range])),
                None => drop(list.names.insert(part.to_owned())),
            }
        }
        list
    }

    /// Whether a port is listed.
    pub(crate) fn has(&self, port: u16, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.names.contains(name)) || self.numbers.contains(port)
    }

    /// The listed numbers, each once; of more than can matter the first.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u16> {
        self.numbers.0.iter().flat_map(|(first, last)| *first..=*last).take(MAX_NUMBERS)
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn range(part: &str) -> Option<(u16, u16)> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// Digits alone: no sign, no space inside.
fn port(text: &str) -> Option<u16> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port > 0)
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(","))
    }
}

/// A proxy needs no more of them one by one: a port that isn't known to be opaque is only looked at.
const MAX_NUMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_joined() {
        let read = |text: &str| text.parse::<PortList>().map(|list| list.to_string());
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(read(" 443, 80,"), Ok("80,443".into()));
        assert_eq!(read("90-95,93-100,101,1"), Ok("1,90-101".into()));
        assert_eq!(read("1-65535"), Ok(PortList::all().to_string()));
        for wrong in ["0", "65536", "-1", "+1", "5-4", "80;81", "http", "1-2-3", "8 0"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_ranges_and_names_are_listed() {
        let list = NamedPorts::parse(" 25, 9000-9010,admin,,my-port ,0,70000,9-3");
        assert!(list.has(25, None) && list.has(9000, None) && list.has(9010, None));
        assert!(list.has(1, Some("admin")) && list.has(1, Some("my-port")));
        for port in [0, 24, 26, 8999, 9011, 5] {
            assert!(!list.has(port, Some("http")), "{port}");
        }
        assert_eq!(list.numbers().count(), 12);
        assert_eq!(NamedPorts::parse("1-65535").numbers().count(), MAX_NUMBERS);
        assert!(!NamedPorts::parse("").has(25, None));
    }
}
