//! `weft completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::print;

/// Prints the shell's completions.
pub(crate) fn run(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "weft", &mut script);
    // A shell's script is text. A reader that has gone has seen enough.
    print::raw(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
