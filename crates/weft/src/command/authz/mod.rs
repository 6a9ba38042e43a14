//! `weft authz`: what the policies decide, asked of a folder or of the running mesh.
//!
//! The decision itself is `weft-mesh`'s, and the same that proxies make.

mod cases;
mod cluster;
mod explain;
mod junit;
mod policies;
mod question;
mod report;
mod running;
mod test;

use std::process::ExitCode;

use crate::args::{Arguments, AuthzCommand};
use crate::failure::Failure;

/// Runs what was asked for.
pub(crate) fn run(arguments: &Arguments, command: &AuthzCommand) -> Result<ExitCode, Failure> {
    match command {
        AuthzCommand::Explain(args) => explain::run(arguments, args),
        AuthzCommand::Test(args) => test::run(args),
    }
}
