//! The demo as people watch it: the shop under load, at first open to everybody, then closed by two manifests, with
//! its signals, until Ctrl-C.

use std::ops::ControlFlow;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use super::interrupt;
use super::stage::{Stage, finish, wait_for};
use super::{CURL, POLICIES, SHOP, WEB, logged, program, start_mesh, text, visit};
use crate::failure::{Context, Failure};
use crate::print;

/// Plays until a signal ends it.
pub(super) fn play() -> Result<ExitCode, Failure> {
    let mut stage = Stage::new(SHOP)?;
    print::line("Starting examples/shop: web, checkout, payments, and a stranger. No policy is in force yet.");
    start_mesh(&mut stage)?;
    // Who comes earlier is turned away, which would count.
    wait_for("the shop's programs", || are_ready(&stage).then_some(()))?;
    wait_for("the shop to open", || visit().filter(|page| text(&page.stdout).contains("charged")))?;
    let _load = Load::start()?;
    for act in [Act::Open, Act::Closed] {
        if act == Act::Closed {
            stage.write(POLICIES.0, POLICIES.1)?;
        }
        for second in 0.. {
            // A reader that has gone has seen enough.
            if show(&stage, act)?.is_break() || interrupt::comes_within(TICK) {
                print::line("\nEnding the shop and its mesh.");
                return Ok(ExitCode::SUCCESS);
            }
            if act == Act::Open && second == OPEN_SECONDS {
                break;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Everybody may call everybody.
    Open,
    /// The two manifests are in force.
    Closed,
}

/// Whether all that runs can be called.
fn are_ready(stage: &Stage) -> bool {
    let listed = finish(stage.weft().args(["ps", "-o", "json"])).map(|output| output.stdout).unwrap_or_default();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap_or_default();
    let is_starting = |row: &serde_json::Value| row["state"] == "starting";
    ["web", "checkout", "payments"].iter().all(|name| rows.iter().any(|row| row["name"] == *name))
        && !rows.iter().any(is_starting)
}

/// One look: what is in force, the signals, and what the stranger gets.
fn show(stage: &Stage, act: Act) -> Result<ControlFlow<()>, Failure> {
    let stat = finish(stage.weft().args(["--local", "stat", "--window", "10s"]))?;
    let said = finish(stage.weft().args(["logs", "stranger", "--tail", "1"]))?;
    let (is_terminal, table) = (print::is_terminal(), text(&stat.stdout));
    let table = if is_terminal { fitted(&table, print::width()) } else { table };
    let policies = match act {
        Act::Open => "no policy yet: everybody may call everybody".to_owned(),
        Act::Closed => format!("in force since {}:\n{}", POLICIES.0, essence(POLICIES.1)),
    };
    // A low terminal shows what happens, and not the policies' text.
    let has_room = !is_terminal || policies.lines().count() + table.lines().count() + OTHER_LINES <= print::height();
    let policies = if has_room { &policies } else { policies.lines().next().unwrap_or_default().trim_end_matches(':') };
    let mut lines = vec![format!("weft up -f shop: {policies}"), String::new()];
    lines.extend(["weft stat".to_owned(), table, String::new()]);
    lines.push("weft logs stranger --tail 1".to_owned());
    lines.push(text(&said.stdout));
    if act == Act::Closed {
        let reason = logged(&stage.proxy_log("payments.payments"), "reason").next();
        lines.push(reason.map(|reason| format!("payments' proxy: {reason}")).unwrap_or_default());
    }
    lines.extend([String::new(), "Ctrl-C ends it and leaves nothing behind.".to_owned()]);
    let text = lines.join("\n");
    if is_terminal {
        print::screen(&text);
        return Ok(ControlFlow::Continue(()));
    }
    let written = print::stream_line(&text);
    Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
}

/// A table of `weft stat`; where it is too wide, without the columns from CONN/S to SENT.
fn fitted(table: &str, width: usize) -> String {
    let head = table.lines().next().unwrap_or_default();
    let is_narrow = table.lines().all(|line| line.chars().count() <= width);
    match (head.find("CONN/S"), head.find("MTLS")) {
        (Some(from), Some(to)) if !is_narrow => {
            let cut = |line: &str| line.chars().take(from).chain(line.chars().skip(to)).collect::<String>();
            table.lines().map(cut).collect::<Vec<_>>().join("\n")
        }
        _ => table.to_owned(),
    }
}

/// A manifest's own lines, without its comments.
fn essence(yaml: &str) -> String {
    yaml.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect()
}

/// A visitor of the shop who never tires. Dropping it sends them home.
struct Load(Child);

impl Load {
    fn start() -> Result<Self, Failure> {
        let script = format!("while true; do {} -o /dev/null {WEB}; done", CURL.join(" "));
        let mut shell = program("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        weft_capture::end_with_parent(&mut shell);
        Ok(Self(shell.spawn().context("start the load")?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by the same Ctrl-C.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TICK: Duration = Duration::from_secs(1);
/// Lines of the screen around policies and table.
const OTHER_LINES: usize = 9;
/// How long the shop stays open, so that the difference is seen.
const OPEN_SECONDS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_shows_the_columns_that_matter() {
        let table =
            "SERVICE  P50    CONN/S  OPEN  SENT  MTLS  DENIED\nweb      40\u{b5}s   -       1     2     100%  3";
        assert_eq!(fitted(table, 100), table);
        assert_eq!(fitted(table, 40), "SERVICE  P50    MTLS  DENIED\nweb      40\u{b5}s   100%  3");
        assert_eq!(fitted("nothing", 3), "nothing");
    }
}
