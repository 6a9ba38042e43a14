//! User and network namespaces of a workload.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::capability;
use crate::error::{Failure, Step};

/// Enters a network namespace of this process's own; an ordinary user needs a user namespace for that.
/// There the user's own ids are mapped and no other: a program that gets root's id could change the rules.
pub(crate) fn enter() -> Result<(), Failure> {
    if !capability::may_do_without_user_namespace() {
        let (user, group) = (geteuid(), getegid());
        into(CloneFlags::CLONE_NEWUSER, Step::UserNamespace)?;
        map("/proc/self/setgroups", "deny")?;
        map("/proc/self/uid_map", &format!("{user} {user} 1"))?;
        map("/proc/self/gid_map", &format!("{group} {group} 1"))?;
    }
    into(CloneFlags::CLONE_NEWNET, Step::NetworkNamespace)
}

/// Enters a namespace; for a PID namespace, children do.
pub(crate) fn into(kind: CloneFlags, step: Step) -> Result<(), Failure> {
    unshare(kind).map_err(|errno| Failure::new(step, errno, ""))
}

fn map(path: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::new(Step::MapIds, errno_of(&error), path))
}

/// The errno of an error of the standard library.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
