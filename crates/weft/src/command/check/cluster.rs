//! `weft check` of a cluster: asks `weft_kube` until it is satisfied, and prints as Linkerd does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kube_check::{Asked, Category, Check, Finding, Problem, Report, Scope, Seen, Unseen};
use weft_kube::check as kube_check;
use weft_wire::proto::weft::v1::{ProxiesRequest, StatusRequest};

use crate::args::{CheckArgs, CheckFormat};
use crate::client::{self, Access};
use crate::failure::Failure;
use crate::home::Mesh;
use crate::print::{self, Stream};

/// Checks, and again while there is something to wait for.
pub(super) fn run(access: &Access, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let asked = Asked {
        scope: scope(args),
        namespace: args.namespace.clone(),
        expected_version: args.expected_version.clone(),
    };
    let report = crate::command::runtime()?.block_on(look(access, &asked, Patience::of(args.wait)));
    match args.output {
        CheckFormat::Json => print::json(&report),
        CheckFormat::Table => show(&report, |_| true),
        CheckFormat::Short => show(&report, |check| check.finding != Finding::Fine),
    }
    Ok(if report.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(access: &Access, asked: &Asked, patience: Patience) -> Report {
    let client = match access.cluster().await {
        Ok(cluster) => cluster.client,
        Err(Failure { message, hint }) => {
            return kube_check::without_client(Problem::new(message, hint.unwrap_or_default()));
        }
    };
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut seen = kube_check::look(&client, &access.namespace, asked).await;
        if seen.runs() {
            seen.problems = problems(access).await;
            if asked.scope == Scope::Proxies {
                seen.unheard = unheard(access).await;
            }
        }
        let report = kube_check::conclude(&seen, asked);
        if !patience.goes_on(&report, begun.elapsed()) {
            print::progress(None);
            return report;
        }
        let wanted = report.first_failure().unwrap_or_default();
        print::progress(Some(&format!("waiting, {} s: {wanted}", begun.elapsed().as_secs())));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// What the controller says is wrong.
async fn problems(access: &Access) -> Seen<Vec<String>> {
    let unseen = |failure: Failure| Unseen::Failed(failure.message);
    let mut control = client::control(&Mesh::Cluster(access.clone())).await.map_err(unseen)?;
    let status = control.status(StatusRequest {}).await;
    let status = status.map_err(|status| unseen(client::refused("ask the controller", &status)))?;
    Ok(status.into_inner().problems)
}

/// Pods of whose proxies the controller hears nothing.
async fn unheard(access: &Access) -> Seen<Vec<String>> {
    let unseen = |failure: Failure| Unseen::Failed(failure.message);
    let mut observer = client::observe(&Mesh::Cluster(access.clone())).await.map_err(unseen)?;
    let answer = observer.proxies(ProxiesRequest {}).await;
    let answer = answer.map_err(|status| unseen(client::refused("read the proxies", &status)))?;
    let silent = answer.into_inner().proxies.into_iter().filter(|proxy| proxy.record_streams == 0);
    Ok(silent.map(|proxy| proxy.workload).collect())
}

fn scope(args: &CheckArgs) -> Scope {
    match (args.pre, args.crds, args.proxy) {
        (true, ..) => Scope::Pre,
        (_, true, _) => Scope::Definitions,
        (_, _, true) => Scope::Proxies,
        (false, false, false) => Scope::Installed,
    }
}

/// What is worth waiting for, and for how long.
enum Patience {
    /// For anything that fails, as the user asked.
    Asked(Duration),
    /// For what may come right by itself, such as pods that are starting.
    Usual,
}

impl Patience {
    fn of(wait: Option<Duration>) -> Self {
        wait.map_or(Self::Usual, Self::Asked)
    }

    fn goes_on(&self, report: &Report, passed: Duration) -> bool {
        match self {
            Self::Asked(limit) => !report.success() && passed < *limit,
            Self::Usual => report.only_waits() && passed < USUAL_PATIENCE,
        }
    }
}

fn show(report: &Report, shown: impl Fn(&Check) -> bool) {
    for Category { name, checks } in &report.categories {
        let checks: Vec<&Check> = checks.iter().filter(|check| shown(check)).collect();
        if checks.is_empty() {
            continue;
        }
        print::line(name);
        print::line(&"-".repeat(name.chars().count()));
        for Check { description, finding } in checks {
            print::line(&format!("{} {description}", mark(finding)));
            if let Some(problem) = finding.problem() {
                print::line(&format!("    {}", print::tame(&problem.error)));
                print::line(&format!("    hint: {}", print::tame(&problem.hint)));
            }
        }
        print::line("");
    }
    let all =
        if report.success() { print::paint(Stream::Out, "32", "√") } else { print::paint(Stream::Out, "31", "×") };
    print::line(&format!("Status check results are {all}"));
}

/// Linkerd's three marks.
fn mark(finding: &Finding) -> String {
    match finding {
        Finding::Fine => print::paint(Stream::Out, "32", "√"),
        Finding::Warns(_) => print::paint(Stream::Out, "33", "‼"),
        Finding::Waits(_) | Finding::Fails(_) => print::paint(Stream::Out, "31", "×"),
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// As long as Linkerd's.
const USUAL_PATIENCE: Duration = Duration::from_secs(300);
