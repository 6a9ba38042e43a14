//! `weft run --detach`: the same command in the background, away from the terminal.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use weft_wire::proto::weft::v1::WorkloadState;

use crate::args::RunArgs;
use crate::command::workload::{self, id_and_pid};
use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// Starts it, and waits until it can be called.
pub(super) fn start(home: &Home, args: &RunArgs) -> Result<ExitCode, Failure> {
    let usual = || home.logs().join(format!("{}.{}.{}.out", args.namespace, args.name, std::process::id()));
    let log = args.output.clone().unwrap_or_else(usual);
    let mut child = spawn(args, &log)?;
    let id = crate::runtime::of_this_thread()?.block_on(wait_until_ready(home, &mut child, &log))?;
    print::progress(None);
    print::line(&format!("{id} runs (pid {})", child.id()));
    print::line(&format!("its output: weft logs {}", args.name));
    Ok(ExitCode::SUCCESS)
}

/// This very command line, with a file for its output in the place of the terminal.
fn spawn(args: &RunArgs, log: &Path) -> Result<Child, Failure> {
    let weft = env::current_exe().context("find weft itself")?;
    let mut words: Vec<OsString> = env::args_os().skip(1).collect();
    // The program follows the first of these; before it flags may stand in any order.
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.insert(end, "--detached".into());
    if args.output.is_none() {
        words.splice(end..end, ["--output".into(), log.into()]);
    }
    let mut command = Command::new(weft);
    command.args(words).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("start weft run")
}

async fn wait_until_ready(home: &Home, child: &mut Child, log: &Path) -> Result<String, Failure> {
    let began = Instant::now();
    loop {
        let running = workload::list(home).await?;
        let ours = running.iter().find(|workload| id_and_pid(workload).1 == child.id());
        if let Some(workload) = ours.filter(|workload| workload.state() == WorkloadState::Ready) {
            return Ok(id_and_pid(workload).0.to_owned());
        }
        if let Some(status) = child.try_wait().context("wait for weft run")? {
            print::progress(None);
            let text = fs::read(log).unwrap_or_default();
            let (last, hint) = last_words(&String::from_utf8_lossy(&text));
            let hint = hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
            return Err(Failure::new(format!("it ended before it could be called ({status}): {last}"))
                .hint(format!("{hint}its whole output: {}", log.display())));
        }
        if began.elapsed() > SHOW_AFTER {
            let seconds = began.elapsed().as_secs();
            print::progress(Some(&format!("waiting until it can be called ({seconds} s); Ctrl-C leaves it running")));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What an output ends with, and the hint behind it where that is Weft's own.
fn last_words(text: &str) -> (String, Option<String>) {
    let mut lines = text.lines().rev();
    let last = lines.next().unwrap_or("it said nothing");
    let hint = last.strip_prefix("hint: ");
    let reason = hint.and_then(|_| lines.next()).and_then(|line| line.strip_prefix("error: "));
    match reason {
        Some(reason) => (print::tame(reason), hint.map(print::tame)),
        None => (print::tame(last), None),
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Waiting that is over sooner needs no words.
const SHOW_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_and_not_only_what_to_do() {
        let check = |text: &str, reason: &str, hint: Option<&str>| {
            assert_eq!(last_words(text), (reason.to_owned(), hint.map(str::to_owned)));
        };
        check("it began\nerror: no network\nhint: try another\n", "no network", Some("try another"));
        check("hint: of the program's own", "hint: of the program's own", None);
        check("it began\nhint: of the program's own", "hint: of the program's own", None);
        check("error: cannot run it", "error: cannot run it", None);
        check("", "it said nothing", None);
    }
}
