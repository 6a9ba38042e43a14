//! What the processes of a sandbox are made from.

use std::path::PathBuf;

use nix::unistd::Pid;

use crate::plan::Plan;

/// A plan, and what its launcher found out before.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint<'a> {
    pub(crate) plan: &'a Plan,
    /// The file behind `/etc/resolv.conf`, when there is one.
    pub(crate) resolv_conf: Option<PathBuf>,
    pub(crate) processes: Processes,
    pub(crate) launcher: Pid,
}

/// Which processes a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processes {
    /// Its own: a PID namespace.
    Own,
    /// The launcher's, where a PID namespace with its `/proc` can't be had.
    Shared,
}
