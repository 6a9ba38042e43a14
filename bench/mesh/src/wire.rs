//! Bytes that the control plane has sent to each proxy, as the kernel counts them for each connection
//! (`ss`; tcp(7), `tcpi_bytes_sent`): TLS included, TCP and IP headers not.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;

use crate::api::{Failure, Outcome};

/// Bytes sent so far, by connection.
pub(crate) struct Sent(HashMap<SocketAddr, u64>);

impl Sent {
    pub(crate) fn now() -> Outcome<Self> {
        let output = Command::new("ss").args(["-tinHO", "sport", "=", ":15012"]).output();
        let output = output.map_err(|error| Failure::new("ss", error))?;
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// A connection a line: state, queues, both addresses, then what is known of it.
    fn parse(text: &str) -> Self {
        let one = |line: &str| {
            let peer: SocketAddr = line.split_whitespace().nth(4)?.parse().ok()?;
            let bytes = line.split_whitespace().find_map(|word| word.strip_prefix("bytes_sent:"))?.parse().ok()?;
            Some((peer, bytes))
        };
        Self(text.lines().filter_map(one).collect())
    }

    /// What was sent since an earlier look, to these addresses and to all others.
    pub(crate) fn since(&self, earlier: &Self, to: &BTreeSet<IpAddr>) -> (u64, u64) {
        let mut sums = (0, 0);
        for (peer, bytes) in &self.0 {
            let more = bytes.saturating_sub(earlier.0.get(peer).copied().unwrap_or_default());
            let mapped = match peer.ip() {
                IpAddr::V6(ip) => canonical(ip),
                ip @ IpAddr::V4(_) => ip,
            };
            match to.contains(&mapped) {
                true => sums.0 += more,
                false => sums.1 += more,
            }
        }
        sums
    }
}

fn canonical(ip: Ipv6Addr) -> IpAddr {
    IpAddr::V6(ip).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_apart_by_address() {
        let line = |port: u16, bytes: u64| {
            format!(
                "ESTAB 0 0 [::ffff:10.64.0.1]:15012 [::ffff:10.64.0.1]:{port} cubic rto:201 bytes_sent:{bytes} bytes_acked:9\n"
            )
        };
        let before = Sent::parse(&(line(1, 100) + &line(2, 50)));
        let after = Sent::parse(&(line(1, 130) + &line(3, 7) + "ESTAB 0 0 [::1]:15012 [::1]:9 cubic bytes_sent:4\n"));
        assert_eq!(after.since(&before, &["10.64.0.1".parse().unwrap()].into()), (37, 4));
    }
}
