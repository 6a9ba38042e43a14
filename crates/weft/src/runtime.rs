//! What a command waits on.

use crate::failure::{Context, Failure};

/// A runtime on this thread alone: commands wait for one thing at a time, and `run` must fork.
pub(crate) fn of_this_thread() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
