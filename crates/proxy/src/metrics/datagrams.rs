//! Counters of the program's datagrams, DNS apart.

use std::cell::Cell;

use super::Row;

/// What became of datagrams.
#[derive(Default)]
pub struct Datagrams {
    /// Flows to the outside of the mesh that are open.
    pub flows: Cell<u64>,
    /// Datagrams that went to the outside.
    pub sent: Cell<u64>,
    /// What they carried.
    pub sent_bytes: Cell<u64>,
    /// Datagrams that came from there.
    pub received: Cell<u64>,
    /// What they carried.
    pub received_bytes: Cell<u64>,
    /// Datagrams that may not go where they were meant to.
    pub refused: Cell<u64>,
    /// Datagrams that went nowhere for want of room, or of a way.
    pub dropped: Cell<u64>,
}

impl Datagrams {
    pub(super) fn rows(&self) -> [Row; 7] {
        [
            ("weft_udp_flows", "gauge", "Open flows of UDP to the outside of the mesh.", &self.flows),
            ("weft_udp_sent_datagrams_total", "counter", "Datagrams sent to the outside.", &self.sent),
            ("weft_udp_sent_bytes_total", "counter", "Bytes that they carried.", &self.sent_bytes),
            ("weft_udp_received_datagrams_total", "counter", "Datagrams received from the outside.", &self.received),
            ("weft_udp_received_bytes_total", "counter", "Bytes that they carried.", &self.received_bytes),
            ("weft_udp_refused_total", "counter", "Datagrams refused, as those to the mesh are.", &self.refused),
            ("weft_udp_dropped_total", "counter", "Datagrams lost in the proxy.", &self.dropped),
        ]
        .map(|(name, kind, help, value)| (name, kind, help, value.get()))
    }
}
