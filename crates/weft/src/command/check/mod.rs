//! `weft check`: the running mesh and this machine, or a cluster, line by line. A line that isn't fine
//! says what to do. What is asked and what is concluded stand apart: `mesh` concludes from messages alone.

mod cluster;
mod folder;
mod machine;
mod mesh;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use weft_capture::Finding;

use crate::access::Access;
use crate::args::{Arguments, CheckArgs, CheckFormat};
use crate::failure::Failure;
use crate::home::{Home, Mesh};
use crate::print::{self, Stream};

/// Checks the mesh that is meant.
pub(crate) fn run(arguments: &Arguments, args: &CheckArgs) -> Result<ExitCode, Failure> {
    if args.is_about_a_cluster() {
        return cluster::run(&Access::of(&arguments.cluster), args);
    }
    match Mesh::choose(arguments)? {
        Mesh::Local(home) => machine(&home, args),
        Mesh::Cluster(access) => cluster::run(&access, args),
    }
}

/// Checks once, or until nothing fails.
fn machine(home: &Home, args: &CheckArgs) -> Result<ExitCode, Failure> {
    // Before there is a runtime: it forks, and must be alone in its process.
    let findings = weft_capture::probe().map_err(|error| error.to_string());
    let runtime = crate::runtime::of_this_thread()?;
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    let checks = loop {
        let checks = runtime.block_on(all(home, &findings));
        let ok = checks.iter().all(|check| check.status != Status::Fail);
        if ok || deadline.is_none_or(|deadline| Instant::now() > deadline) {
            break checks;
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    let mut report = Report { ok: checks.iter().all(|check| check.status != Status::Fail), checks };
    match args.output {
        CheckFormat::Json => print::json(&report),
        CheckFormat::Table => report.print(),
        CheckFormat::Short => {
            report.checks.retain(|check| check.status != Status::Ok);
            report.print();
        }
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn all(home: &Home, findings: &Result<Vec<Finding>, String>) -> Vec<Check> {
    let mut checks = mesh::look(home).await;
    checks.extend(folder::check(home.state()));
    checks.extend(folder::space(home));
    checks.extend(machine::kernel(findings));
    checks.push(machine::open_files());
    checks.push(machine::names());
    checks
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: String,
    status: Status,
    detail: String,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, detail: detail.into(), hint: None }
    }

    fn warn(name: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Warn, hint: Some(hint.into()), ..Self::ok(name, detail) }
    }

    fn fail(name: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(name, detail, hint) }
    }
}

impl Report {
    fn print(&self) {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for Check { name, status, detail, hint } in &self.checks {
            let mark = match status {
                Status::Ok => print::paint(Stream::Out, "32", "ok  "),
                Status::Warn => print::paint(Stream::Out, "33", "warn"),
                Status::Fail => print::paint(Stream::Out, "31", "FAIL"),
            };
            print::line(&format!("{mark}  {name:<width$}  {}", print::tame(detail)));
            if let Some(hint) = hint {
                print::line(&format!("{:indent$}{hint}", "", indent = width + 8));
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        print::line(&format!("\n{} fail, {} warn, {} ok", count(Status::Fail), count(Status::Warn), count(Status::Ok)));
    }
}

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
