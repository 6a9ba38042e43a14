//! How often refused datagrams are told of: a destination once in a while, and not too many of them. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::limits::{UDP_REFUSAL_LINES, UDP_REFUSAL_PAUSE};

/// What was told of lately, the oldest first.
#[derive(Default)]
pub(super) struct Lines(VecDeque<(Instant, SocketAddr)>);

impl Lines {
    /// Whether a line about `destination` is due; if so it counts as told.
    pub(super) fn take(&mut self, destination: SocketAddr, now: Instant) -> bool {
        while self.0.front().is_some_and(|(told, _)| now.saturating_duration_since(*told) >= UDP_REFUSAL_PAUSE) {
            self.0.pop_front();
        }
        if self.0.len() >= UDP_REFUSAL_LINES || self.0.iter().any(|(_, of)| *of == destination) {
            return false;
        }
        self.0.push_back((now, destination));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_in_few_lines() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let to = |port: u16| SocketAddr::from(([240, 240, 3, 4], port));
        let told = (0..10_000).filter(|n| lines.take(to(*n), start)).count();
        assert_eq!(told, UDP_REFUSAL_LINES);
        assert!(!lines.take(to(1), start + UDP_REFUSAL_PAUSE / 2));
        assert!(lines.take(to(1), start + UDP_REFUSAL_PAUSE));
        assert!(!lines.take(to(1), start + UDP_REFUSAL_PAUSE));
        assert!(lines.take(to(2), start + UDP_REFUSAL_PAUSE));
    }
}
