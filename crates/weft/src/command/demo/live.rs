//! The demo as people watch it: the shop under load, at first open to everybody, then closed by two manifests, with
//! its signals, until Ctrl-C.

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use super::interrupt;
use super::stage::{Stage, finish, wait_for};
use super::{POLICIES, SHOP, WEB, logged, start_mesh, text, visit};
use crate::failure::{Context, Failure};
use crate::print;

/// Plays until a signal ends it.
pub(super) fn play() -> Result<ExitCode, Failure> {
    let mut stage = Stage::new(SHOP)?;
    print::line("Starting examples/shop: web, checkout, payments, and a stranger. No policy is in force yet.");
    start_mesh(&mut stage)?;
    wait_for("the shop to open", || visit().filter(|page| text(&page.stdout).contains("charged")))?;
    let _load = Load::start()?;
    for act in [Act::Open, Act::Closed] {
        if act == Act::Closed {
            stage.write(POLICIES.0, POLICIES.1)?;
        }
        for second in 0.. {
            show(&stage, act)?;
            if interrupt::comes_within(TICK) {
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

/// One look: what is in force, the signals, and what the stranger gets.
fn show(stage: &Stage, act: Act) -> Result<(), Failure> {
    let stat = finish(stage.weft().args(["--local", "stat", "--window", "10s"]))?;
    let said = finish(stage.weft().args(["logs", "stranger", "--tail", "1"]))?;
    let mut lines = vec![match act {
        Act::Open => "weft up -f shop    no policy: everybody may call everybody; policies come in a moment".to_owned(),
        Act::Closed => format!("weft up -f shop    in force since {}:\n{}", POLICIES.0, essence(POLICIES.1)),
    }];
    lines.extend([String::new(), "weft stat".to_owned(), text(&stat.stdout), String::new()]);
    lines.push("weft logs stranger --tail 1".to_owned());
    lines.push(text(&said.stdout));
    if act == Act::Closed {
        let reason = logged(&stage.proxy_log("payments.payments"), "reason").next();
        lines.push(reason.map(|reason| format!("payments' proxy: {reason}")).unwrap_or_default());
    }
    lines.extend([String::new(), "Ctrl-C ends it and leaves nothing behind.".to_owned()]);
    let text = lines.join("\n");
    if print::is_terminal() {
        print::screen(&text)
    } else {
        print::line(&text)
    }
    Ok(())
}

/// A manifest's own lines, without its comments.
fn essence(yaml: &str) -> String {
    yaml.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect()
}

/// A visitor of the shop who never tires. Dropping it sends them home.
struct Load(Child);

impl Load {
    fn start() -> Result<Self, Failure> {
        let script = format!("while true; do curl -sS -m 5 -o /dev/null {WEB}; done");
        let mut shell = Command::new("sh");
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
/// How long the shop stays open, so that the difference is seen.
const OPEN_SECONDS: u32 = 8;
