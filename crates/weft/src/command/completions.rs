//! `weft completions SHELL`.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::args::command_line;
use crate::print;

/// Prints the shell's completions.
pub(crate) fn run(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "weft", &mut script);
    // A shell's script is text. A reader that has gone has seen enough.
    print::raw(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
