//! What the proxy tells of itself.

use weft_wire::proto::weft::v1::Health;

use super::{Known, Snapshot};

/// The proxy's state, as a snapshot and the control thread's tasks know it.
pub(super) fn health(snapshot: &Snapshot, known: &Known) -> Health {
    Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        anonymous_bytes: anonymous_bytes(),
        outbound_open: snapshot.outbound_open,
        inbound_open: snapshot.inbound_open,
        inbound_version: known.inbound_version.clone(),
        destinations: u32::try_from(known.destinations).unwrap_or(u32::MAX),
        process: snapshot.process.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    }
}

/// Resident anonymous memory (proc_pid_status(5), `RssAnon`); 0 where the kernel doesn't tell.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        let before = anonymous_bytes();
        let held = vec![1u8; 8 << 20];
        assert!(anonymous_bytes() > before + (4 << 20), "{before}");
        assert_eq!(held.iter().map(|b| usize::from(*b)).sum::<usize>(), 8 << 20);
    }
}
