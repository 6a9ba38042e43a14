//! Which capabilities a program keeps, capabilities(7).
//!
//! As root it keeps what `su`, package managers and servers that bind port 80 and change their user need, and
//! nothing that reaches the network's rules, mounts, devices or other processes. An ordinary user's
//! program has none; a file with capabilities of its own (`ping`) may give it these and raw sockets,
//! which end at the namespace.

use std::fs;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::error::{Failure, Step};
use crate::sys;

/// What a program of root keeps.
pub(crate) const ROOT: u64 = bit(CHOWN)
    | bit(DAC_OVERRIDE)
    | bit(FOWNER)
    | bit(FSETID)
    | bit(KILL)
    | bit(SETGID)
    | bit(SETUID)
    | bit(SETPCAP)
    | NET_BIND_SERVICE
    | bit(SYS_CHROOT)
    | bit(AUDIT_WRITE)
    | SETFCAP;
/// What the socket maker keeps: it answers DNS from port 53.
pub(crate) const NET_BIND_SERVICE: u64 = bit(10);
/// What user 0 needs to map itself into a user namespace.
pub(crate) const SETFCAP: u64 = bit(31);

/// Whether this process may make namespaces without a user namespace.
pub(crate) fn may_do_without_user_namespace() -> bool {
    let needed = bit(SYS_ADMIN) | bit(NET_ADMIN) | bit(SETPCAP);
    geteuid().is_root() && effective() & needed == needed
}

/// What this process can do now.
pub(crate) fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Gives up all that a program of this user may not have, for this process and all that it runs.
pub(crate) fn restrict() -> Result<(), Failure> {
    let root = geteuid().is_root();
    let bounding = if root { ROOT } else { ROOT | bit(NET_RAW) };
    for capability in 0..64 {
        if bounding & bit(capability) == 0 {
            match sys::drop_from_bounding_set(capability) {
                // There are no more.
                Err(Errno::EINVAL) => break,
                dropped => dropped.map_err(|errno| Failure::new(Step::Capabilities, errno, "bounding set"))?,
            }
        }
    }
    keep(if root { ROOT } else { 0 })
}

/// Keeps no more than these of the capabilities that this process has.
pub(crate) fn keep(capabilities: u64) -> Result<(), Failure> {
    sys::set_capabilities(capabilities).map_err(|errno| Failure::new(Step::Capabilities, errno, "permitted set"))
}

const fn bit(capability: u8) -> u64 {
    1 << capability
}

// linux/capability.h
const CHOWN: u8 = 0;
const DAC_OVERRIDE: u8 = 1;
const FOWNER: u8 = 3;
const FSETID: u8 = 4;
const KILL: u8 = 5;
const SETGID: u8 = 6;
const SETUID: u8 = 7;
const SETPCAP: u8 = 8;
const NET_ADMIN: u8 = 12;
const NET_RAW: u8 = 13;
const SYS_CHROOT: u8 = 18;
const SYS_ADMIN: u8 = 21;
const AUDIT_WRITE: u8 = 29;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_reaches_rules_or_mounts_is_kept() {
        for capability in [NET_ADMIN, NET_RAW, SYS_ADMIN, 2, 16, 17, 19, 27] {
            assert_eq!(ROOT & bit(capability), 0, "{capability}");
        }
        assert_eq!(ROOT.count_ones(), 12);
    }
}
