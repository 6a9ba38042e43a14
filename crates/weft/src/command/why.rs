//! `weft why`: what became of one request, out of the access logs of all proxies.

mod story;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use weft_kube::access;

use self::story::Story;
use crate::access::{Access, told};
use crate::args::{Format, WhyArgs};
use crate::failure::{Context, Failure};
use crate::home::{Home, Mesh};
use crate::print;

/// Prints what each proxy says of the request, and what that comes to.
pub(crate) fn run(mesh: &Mesh, args: &WhyArgs) -> Result<ExitCode, Failure> {
    let id = &*args.request_id;
    let lines = match mesh {
        Mesh::Local(home) => kept(home, id)?,
        Mesh::Cluster(access) => crate::runtime::of_this_thread()?.block_on(cluster(access, args))?,
    };
    let Some(story) = Story::of(id, lines.iter().map(String::as_str)) else {
        return Err(Failure::new(format!("no proxy's log has a request with the id {id:?}"))
            .hint("logs keep the newest calls; watch them as they end: weft tap -o json"));
    };
    match args.read.output {
        Format::Text => print::line(&print::tame_lines(&story.text())),
        Format::Json => {
            let (conclusion, calls) = (story.conclusion(), story.calls());
            print::json(&Told { request_id: id, conclusion, calls });
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Told<'a> {
    request_id: &'a str,
    conclusion: String,
    calls: Vec<&'a Value>,
}

/// Lines with the id in the logs that this machine's proxies keep, newer parts and older ones.
fn kept(home: &Home, id: &str) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    let logs = fs::read_dir(home.logs()).context("read the folder of logs")?.flatten();
    for path in logs.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".log") && !name.ends_with(".log.1") {
            continue;
        }
        let file = File::open(&path).context(format!("open {}", path.display()))?;
        // What isn't text can't be a line of an access log.
        lines.extend(BufReader::new(file).lines().map_while(Result::ok).filter(|line| line.contains(id)));
    }
    Ok(lines)
}

async fn cluster(access: &Access, args: &WhyArgs) -> Result<Vec<String>, Failure> {
    let cluster = access.cluster().await?;
    print::progress(Some("reading the proxies' logs"));
    let found = access::find(&cluster.client, args.namespace.as_deref(), &args.request_id).await;
    print::progress(None);
    let found = found.map_err(|error| told(&error))?;
    for pod in &found.unread {
        print::note(&format!("weft: {}", print::tame(pod)));
    }
    Ok(found.lines)
}
