//! One file a command. Each returns the exit code, or a failure that is printed once.

mod analyze;
mod authz;
mod bug_report;
mod certs;
mod check;
mod completions;
mod controller;
mod demo;
mod down;
mod edges;
mod exec;
mod identity;
mod inject;
mod install;
mod logs;
mod program;
mod proxy_status;
mod ps;
mod run;
mod stat;
mod tap;
mod top;
mod uninstall;
mod up;
mod version;
mod why;
mod workload;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::access::Access;
use crate::args::{Arguments, Command, Resources, VizCommand};
use crate::failure::Failure;
use crate::home::{Home, Mesh};
use crate::print;

/// Runs what was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let home = || Home::find(arguments.state_dir.as_deref());
    let mesh = || Mesh::choose(&arguments);
    let access = || Access::of(&arguments.cluster);
    match &arguments.command {
        Command::Up(args) => up::run(&home()?, args),
        Command::Run(args) => run::run(&home()?, args),
        Command::Exec(args) => exec::run(&home()?, args),
        Command::Shell(args) => exec::shell(&home()?, args),
        Command::Logs(args) => logs::run(&home()?, args),
        Command::Ps(args) => ps::run(&home()?, args),
        Command::Down => down::run(&home()?),
        Command::Demo(args) => demo::run(args),
        Command::Authz(command) => authz::run(&arguments, command),
        Command::Stat(args) | Command::Viz(VizCommand::Stat(args)) => stat::run(&mesh()?, args),
        Command::Edges(args) | Command::Viz(VizCommand::Edges(args)) => edges::run(&mesh()?, args),
        Command::Tap(args) | Command::Viz(VizCommand::Tap(args)) => tap::run(&mesh()?, args),
        Command::Top(args) | Command::Viz(VizCommand::Top(args)) => top::run(&mesh()?, args),
        Command::Why(args) => why::run(&mesh()?, args),
        Command::Certs(args) => certs::run(&mesh()?, args),
        Command::ProxyStatus(args) => proxy_status::run(&mesh()?, args),
        Command::Identity(args) => identity::run(&access(), args),
        Command::Analyze(args) => analyze::run(&access(), args),
        Command::BugReport(args) => bug_report::run(&access(), args),
        Command::Version(args) => version::run(&arguments, args),
        Command::Viz(VizCommand::Install { .. }) => Err(nothing_more()),
        Command::Check(args) | Command::Viz(VizCommand::Check(args)) => check::run(&arguments, args),
        Command::Controller(args) => controller::run(args),
        Command::Install(args) => install::run(&access(), args),
        Command::Upgrade(args) => install::upgrade(&access(), args),
        Command::Uninstall(args) => uninstall::run(&access(), args),
        Command::Inject(args) => inject::inject(&access(), args),
        Command::Uninject(args) => inject::uninject(args),
        Command::Completions { shell } => Ok(completions::run(*shell)),
    }
}

fn nothing_more() -> Failure {
    Failure::new("there is no extension to install: the control plane itself has the signals")
        .hint("weft install | kubectl apply -f -; then weft viz stat deploy")
}

/// The resources that words name; `None` when they name none of a cluster's kinds.
fn resources(words: &[String]) -> Result<Option<Resources>, Failure> {
    Resources::of(words).map_err(Failure::new)
}

/// Refuses words where only a kind could stand.
fn no_resources(words: &[String]) -> Result<(), Failure> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(Failure::new(format!("expected a kind such as deploy, found {word:?}"))
            .hint("the kinds are deploy, sts, ds, rs, job, cronjob, po, svc, ns")),
    }
}

/// What happens goes to standard error; `RUST_LOG` changes how much.
fn start_log(usual: &str) {
    let quiet = "h2=warn,tonic=warn,hyper=warn,hyper_util=warn,tower=warn,kube_client=error,kube_runtime=error";
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{usual},{quiet}")));
    // A log that can't be written, as on a full disk, is no reason to panic: it would say so there.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_writer(std::io::stderr);
    log.with_env_filter(filter).with_target(false).init();
}

/// Whether a line about a file is more than a note.
fn matters(problem: &str) -> bool {
    problem.split_once(": ").is_none_or(|(_, rest)| !rest.starts_with("info: "))
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Says when figures cover less than was asked for.
fn tell_coverage(covered_seconds: f64, window_seconds: u32) {
    if covered_seconds + 1.0 < f64::from(window_seconds) {
        print::note(&format!("weft: the mesh began {covered_seconds:.0} s ago; rates are over that time"));
    }
}
