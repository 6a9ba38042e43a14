//! What keeps the processes of a sandbox from outliving their parent, and from being read by others.

use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::error::{Failure, Step};

/// When the parent dies, so does this process.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| Failure::new(Step::Supervise, errno, "death signal"))
}

/// Programs of the same user can't trace this process nor read its memory.
pub(crate) fn untraceable() -> Result<(), Failure> {
    prctl::set_dumpable(false).map_err(|errno| Failure::new(Step::Supervise, errno, "dumpable"))
}
