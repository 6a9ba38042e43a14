//! `weft bug-report`: an archive of what helps others to see what is wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use time::OffsetDateTime;
use time::macros::format_description;
use weft_kube::analyze::{analyze, look, to_yaml};
use weft_kube::check;
use weft_kube::client::Cluster;
use weft_kube::report::{Piece, Report, archive};
use weft_wire::proto::weft::v1::ProxiesRequest;

use crate::access::Access;
use crate::args::BugReportArgs;
use crate::client;
use crate::failure::{Context, Failure};
use crate::home::Mesh;
use crate::print;

/// Gathers a report, and writes it. What can't be read is noted in it.
pub(crate) fn run(access: &Access, args: &BugReportArgs) -> Result<ExitCode, Failure> {
    let now = OffsetDateTime::now_utc();
    let stamp = now.format(format_description!("[year][month][day]T[hour][minute][second]Z"));
    let name = format!("weft-bug-report-{}", stamp.context("read the clock")?);
    let path = place(args.output.as_deref(), &name);
    if path.exists() {
        return Err(Failure::new(format!("{} exists already", path.display())).hint("name another with -o FILE"));
    }
    let pieces = crate::runtime::of_this_thread()?.block_on(gather(access, args));
    print::progress(None);
    let pieces = pieces?;
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let bytes = archive(&name, &pieces, seconds).context("make the archive")?;
    // For nobody else's eyes: who sends it on decides so.
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(&bytes)).context(format!("write {}", path.display()))?;
    let shown = path.display();
    print::note(&format!("weft: {} files; look through them before you send them on: tar xzf {shown}", pieces.len()));
    print::line(&shown.to_string());
    Ok(ExitCode::SUCCESS)
}

/// In a folder that is there the archive gets a name of its own.
fn place(asked: Option<&Path>, name: &str) -> PathBuf {
    let file = format!("{name}.tar.gz");
    match asked {
        None => PathBuf::from(file),
        Some(folder) if folder.is_dir() => folder.join(file),
        Some(path) => path.to_path_buf(),
    }
}

fn tell(what: &str) {
    print::progress(Some(&format!("reading {what}")));
}

async fn gather(access: &Access, args: &BugReportArgs) -> Result<Vec<Piece>, Failure> {
    let cluster = access.cluster().await?;
    let mut report = Report::new(tell);
    report.add("version.txt", &format!("weft {}\ncluster {}\n", env!("CARGO_PKG_VERSION"), cluster.name));
    report.gather(&cluster.client, &access.namespace, &args.namespace).await;
    tell("what the controller knows of proxies");
    match proxies(access).await {
        Ok(text) => report.add("proxies.txt", &text),
        Err(failure) => report.lacks("what the controller knows of proxies", &failure.message),
    }
    tell("the checks");
    report.add("check.json", &checks(access, &cluster).await);
    tell("the analysis");
    match look(&cluster.client, None, &access.namespace).await {
        Ok(subject) => report.add("analyze.yaml", &to_yaml(&analyze(&subject))),
        Err(error) => report.lacks("the analysis", &error.to_string()),
    }
    Ok(report.finish())
}

/// What `weft check --proxy` says, without waiting.
async fn checks(access: &Access, cluster: &Cluster) -> String {
    let asked = check::Asked { scope: check::Scope::Proxies, namespace: None, expected_version: None };
    let report = check::conclude(&check::look(&cluster.client, &access.namespace, &asked).await, &asked);
    // Its strings and lists serialize.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

/// Versions, records and certificates' dates, as the controller has them.
async fn proxies(access: &Access) -> Result<String, Failure> {
    let mut observer = client::observe(&Mesh::Cluster(access.clone())).await?;
    let answer = observer.proxies(ProxiesRequest {}).await;
    let answer = answer.map_err(|status| client::refused("read the proxies", &status))?.into_inner();
    let authority = format!("root {:?}\nissuer {:?}\n", answer.root, answer.issuer);
    Ok(answer.proxies.iter().fold(authority, |text, proxy| format!("{text}\n{proxy:#?}\n")))
}
