//! `weft authz`: what the policies decide, asked of a folder or of the running mesh.
//!
//! The decision itself is `weft-mesh`'s, and the same that proxies make.

mod cases;
mod explain;
mod junit;
mod policies;
mod question;
mod report;
mod running;
mod test;

use std::path::Path;
use std::process::ExitCode;

use crate::args::AuthzCommand;
use crate::failure::Failure;

/// Runs what was asked for. `state_dir` is the state folder that the user named.
pub(crate) fn run(state_dir: Option<&Path>, command: &AuthzCommand) -> Result<ExitCode, Failure> {
    match command {
        AuthzCommand::Explain(args) => explain::run(state_dir, args),
        AuthzCommand::Test(args) => test::run(args),
    }
}
