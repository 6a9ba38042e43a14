//! `weft completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;

/// Prints the shell's completions.
pub(crate) fn run(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Arguments::command(), "weft", &mut std::io::stdout());
    ExitCode::SUCCESS
}
