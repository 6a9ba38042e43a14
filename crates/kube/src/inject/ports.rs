//! Lists of ports as annotations write them: `80,90-95`.

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
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || format!("expected ports such as 80,90-95, found {part:?}");
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (port(first).ok_or_else(wrong)?, port(last).ok_or_else(wrong)?);
            if first > last {
                return Err(wrong());
            }
            list.extend(Self(vec![(first, last)]));
        }
        Ok(list)
    }
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
}
