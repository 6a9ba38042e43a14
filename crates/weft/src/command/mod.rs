//! One file a command. Each returns the exit code, or a failure that is printed once.

mod authz;
mod completions;
mod demo;
mod down;
mod ps;
mod run;
mod up;

use std::process::ExitCode;

use crate::args::{Arguments, Command};
use crate::failure::{Context, Failure};
use crate::home::Home;

/// Runs what was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let home = || Home::find(arguments.state_dir.as_deref());
    match &arguments.command {
        Command::Up(args) => up::run(&home()?, args),
        Command::Run(args) => run::run(&home()?, args),
        Command::Ps(args) => ps::run(&home()?, args),
        Command::Down => down::run(&home()?),
        Command::Demo(args) => demo::run(args),
        Command::Authz(command) => authz::run(arguments.state_dir.as_deref(), command),
        Command::Completions { shell } => Ok(completions::run(*shell)),
    }
}

/// A runtime on this thread alone: commands wait for one thing at a time, and `run` must fork.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
