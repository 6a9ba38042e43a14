//! `weft`: the command line. Arguments are read here, each command has a file of its own under
//! `command/`, and only `print` writes. No logic that another room owns stands here.

mod access;
mod args;
mod client;
mod command;
mod failure;
mod figures;
mod home;
mod print;
mod runtime;
mod texts;

use std::process::ExitCode;

use crate::args::Arguments;
use crate::failure::Failure;

fn main() -> ExitCode {
    let code = command::run(Arguments::given()).unwrap_or_else(|failure| failed(&failure));
    print::lost().map_or(code, |failure| failed(&failure))
}

fn failed(failure: &Failure) -> ExitCode {
    print::failure(failure);
    ExitCode::FAILURE
}
