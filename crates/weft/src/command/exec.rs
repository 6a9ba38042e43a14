//! `weft exec` and `weft shell`: another program in the network and among the files of a running workload.

use std::env;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use weft_capture::{InheritedSignals, Namespaces, Program, RunAs};
use weft_wire::proto::weft::v1::Workload;

use crate::args::{ExecArgs, ShellArgs, WorkloadName};
use crate::command::program::{Foreground, Happening, Start, end_as};
use crate::failure::{Context, Failure};
use crate::home::Home;

/// Runs a program in the workload, and ends as it ends.
pub(crate) fn run(home: &Home, args: &ExecArgs) -> Result<ExitCode, Failure> {
    enter(home, &args.workload, args.program.clone())
}

/// Runs the user's shell in the workload.
pub(crate) fn shell(home: &Home, args: &ShellArgs) -> Result<ExitCode, Failure> {
    let usual = env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let shell = usual.unwrap_or_else(|| OsString::from("/bin/sh"));
    enter(home, &args.workload, vec![shell])
}

fn enter(home: &Home, name: &WorkloadName, argv: Vec<OsString>) -> Result<ExitCode, Failure> {
    let signals = InheritedSignals::of_this_process();
    let runtime = super::runtime()?;
    let workload = runtime.block_on(super::workload::find(home, name))?;
    let namespaces = ask(home, &workload)?;
    let folder = env::current_dir().context("find the working folder")?;
    let user = workload.spec.as_ref().map(|spec| spec.user.as_str()).filter(|user| !user.is_empty());
    let user = user.map(RunAs::find).transpose().map_err(Failure::new)?;
    let held =
        weft_capture::join(&namespaces, &Program { argv, user, signals }, &folder).context("enter the workload")?;
    runtime.block_on(async {
        match Foreground::start(held)? {
            Start::NotRun(code) => Ok(code),
            Start::Running(mut program) => loop {
                if let Happening::Ended(ended) = program.next().await? {
                    return Ok(end_as(ended));
                }
            },
        }
    })
}

/// Asks the workload's launcher for its namespaces.
fn ask(home: &Home, workload: &Workload) -> Result<Namespaces, Failure> {
    let (id, pid) = super::workload::id_and_pid(workload);
    let refused = |error: std::io::Error| {
        Failure::new(format!("enter {id}: its launcher (pid {pid}) doesn't let us in: {error}"))
            .hint("only the user who runs a workload may enter it; is it still there? weft ps")
    };
    let socket = UnixStream::connect(home.launcher_socket(pid)).map_err(refused)?;
    socket.set_read_timeout(Some(ANSWER_WAIT)).map_err(refused)?;
    Namespaces::receive(&socket).map_err(refused)
}

/// A launcher does nothing else that takes long.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
