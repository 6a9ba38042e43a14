//! `weft bug-report`: a folder of what helps others to see what is wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weft_kube::analyze::{Subject, analyze, look, to_yaml};
use weft_kube::report::{Piece, Report};
use weft_wire::proto::weft::v1::ProxiesRequest;

use crate::args::BugReportArgs;
use crate::client::{self, Access};
use crate::failure::{Context, Failure};
use crate::home::Mesh;
use crate::print;

/// Gathers a report, and writes it. What can't be read is noted in it.
pub(crate) fn run(access: &Access, args: &BugReportArgs) -> Result<ExitCode, Failure> {
    let folder = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("weft-bug-report-{}", super::now())));
    if folder.exists() {
        return Err(Failure::new(format!("{} exists already", folder.display())).hint("name another with --to DIR"));
    }
    let pieces = super::runtime()?.block_on(gather(access, args))?;
    write(&folder, &pieces)?;
    print::note(&format!("weft: {} files; look through them before you send them on", pieces.len()));
    print::line(&folder.display().to_string());
    Ok(ExitCode::SUCCESS)
}

async fn gather(access: &Access, args: &BugReportArgs) -> Result<Vec<Piece>, Failure> {
    let cluster = access.cluster().await?;
    let mut report = Report::default();
    report.add("version.txt", &format!("weft {}\ncluster {}\n", env!("CARGO_PKG_VERSION"), cluster.name));
    report.gather(&cluster.client, &access.namespace, &args.namespace).await;
    match proxies(access).await {
        Ok(text) => report.add("proxies.txt", &text),
        Err(failure) => report.lacks("what the controller knows of proxies", &failure.message),
    }
    match look(&cluster.client, None).await {
        Ok(objects) => {
            let control_namespace = access.namespace.clone();
            report.add("analyze.yaml", &to_yaml(&analyze(&Subject { objects, has_cluster: true, control_namespace })));
        }
        Err(error) => report.lacks("the analysis", &error.to_string()),
    }
    Ok(report.finish())
}

/// Versions, records and certificates' dates, as the controller has them.
async fn proxies(access: &Access) -> Result<String, Failure> {
    let mut observer = client::observe(&Mesh::Cluster(access.clone())).await?;
    let answer = observer.proxies(ProxiesRequest {}).await;
    let answer = answer.map_err(|status| client::refused("read the proxies", &status))?.into_inner();
    let authority = format!("root {:?}\nissuer {:?}\n", answer.root, answer.issuer);
    Ok(answer.proxies.iter().fold(authority, |text, proxy| format!("{text}\n{proxy:#?}\n")))
}

/// For nobody else's eyes: who sends it on decides so.
fn write(folder: &Path, pieces: &[Piece]) -> Result<(), Failure> {
    for piece in pieces {
        let path = folder.join(&piece.path);
        let what = || format!("write {}", path.display());
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).context(what())?;
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(piece.text.as_bytes())).context(what())?;
    }
    Ok(())
}
