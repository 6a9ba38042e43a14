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

fn main() -> ExitCode {
    match command::run(Arguments::given()) {
        Ok(code) => code,
        Err(failure) => {
            print::failure(&failure);
            ExitCode::FAILURE
        }
    }
}
