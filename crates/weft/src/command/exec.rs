//! `weft exec` and `weft shell`: another program in the network and among the files of a running workload.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use weft_capture::{InheritedSignals, Namespaces, Program, RunAs};
use weft_wire::proto::weft::v1::Workload;

use crate::args::{ExecArgs, ShellArgs, WorkloadName};
use crate::command::program::{Foreground, Happening, Start, end_as};
use crate::command::run::Card;
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
    let runtime = crate::runtime::of_this_thread()?;
    let (card, namespaces) = find(home, name, runtime.block_on(super::workload::list(home)))?;
    let folder = env::current_dir().map_err(|error| {
        Failure::new(format!("find the working folder: {error}")).hint("cd to one that is there, inside as outside")
    })?;
    let user = card.user.as_deref().map(RunAs::find).transpose().map_err(Failure::new)?;
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

/// The workload of that name: as the control plane knows it, or, where none runs, as the launchers say.
fn find(
    home: &Home,
    name: &WorkloadName,
    running: Result<Vec<Workload>, Failure>,
) -> Result<(Card, Namespaces), Failure> {
    match running {
        Ok(running) => ask(home, &super::workload::choose(running, name)?),
        Err(failure) => near(home, name).ok_or(failure),
    }
}

/// Asks the workload's launcher.
fn ask(home: &Home, workload: &Workload) -> Result<(Card, Namespaces), Failure> {
    let (id, pid) = super::workload::id_and_pid(workload);
    answer(&home.launcher_socket(pid)).map_err(|error| {
        Failure::new(format!("enter {id}: its launcher (pid {pid}) doesn't let us in: {error}"))
            .hint("only the user who runs a workload may enter it; is it still there? weft ps")
    })
}

/// Asks every launcher who it is.
fn near(home: &Home, name: &WorkloadName) -> Option<(Card, Namespaces)> {
    let sockets = fs::read_dir(home.launcher_sockets()).into_iter().flatten().flatten();
    let answers = sockets.filter_map(|entry| answer(&entry.path()).ok());
    let id = format!("{}/{}", name.namespace, name.name);
    let is_meant = |card: &Card| card.workload == id || (card.name == name.name && card.namespace == name.namespace);
    answers.filter(|(card, _)| is_meant(card)).min_by_key(|(card, _)| card.workload != id)
}

/// Who a launcher is, and its workload's namespaces.
fn answer(path: &Path) -> io::Result<(Card, Namespaces)> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    let namespaces = Namespaces::receive(&socket)?;
    let mut card = Vec::new();
    socket.read_to_end(&mut card)?;
    Ok((serde_json::from_slice(&card)?, namespaces))
}

/// A launcher does nothing else that takes long.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
