//! `weft demo`: examples/shop, whose programs know nothing of a mesh, in a mesh of its own. Played once it checks
//! every claim by what was seen; else it goes on under load, for people to watch, until Ctrl-C.
//!
//! It plays in a user and network namespace of its own, where an ordinary user may capture packets.

mod interrupt;
mod live;
mod once;
mod sniff;
mod stage;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output};

use crate::args::DemoArgs;
use crate::failure::{Context, Failure};
use stage::{Stage, finish, wait_for};

/// Plays the demo.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    need("python3")?;
    need("curl")?;
    super::run::find_proxy()?;
    weft_capture::enter_private_network().context("make a private network for the demo")?;
    interrupt::watch()?;
    let (played, interrupted) = match args.once {
        true => (once::play(), ExitCode::from(INTERRUPTED)),
        false => (live::play(), ExitCode::SUCCESS),
    };
    if interrupt::came() { Ok(interrupted) } else { played }
}

fn need(name: &str) -> Result<(), Failure> {
    let found = program(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing = || Failure::new(format!("the demo runs {name}, which is not here"));
    if found { Ok(()) } else { Err(missing().hint("on Debian: apt-get install python3 curl")) }
}

/// A program of the demo. In its private network no proxy is reached that the user's environment names.
fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for name in PROXIES {
        command.env_remove(name);
    }
    command
}

/// As everybody's curl asks, whatever the user's `~/.curlrc` says.
fn curl(url: &str) -> Command {
    let mut curl = program(CURL[0]);
    curl.args(&CURL[1..]).arg(url);
    curl
}

/// Starts the mesh with the folder's programs.
fn start_mesh(stage: &mut Stage) -> Result<(), Failure> {
    let mut up = stage.weft();
    up.arg("up").arg("-f").arg(stage.path(FOLDER));
    // A terminal's Ctrl-C is the demo's: it clears the stage in its own order.
    up.process_group(0);
    stage.start("up", up)?;
    wait_for("the mesh to start", || match finish(stage.weft().args(["ps"])) {
        Ok(asked) if asked.status.success() => Some(Ok(())),
        _ => stage.ended("up").map(Err),
    })?
}

/// Asks for the shop's page, from outside of the mesh.
fn visit() -> Option<Output> {
    finish(&mut curl(WEB)).ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The values of a field in a log of JSON lines, the newest first.
fn logged<'a>(log: &'a str, field: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(move |line| line.get(field)?.as_str().map(str::to_owned))
}

/// examples/shop without its policies.
const SHOP: &[(&str, &str)] = &[
    ("shop/shop.yaml", include_str!("../../../../../examples/shop/shop.yaml")),
    ("shop/web-policy.yaml", include_str!("../../../../../examples/shop/web-policy.yaml")),
    ("shop/service.py", include_str!("../../../../../examples/shop/service.py")),
    ("shop/web.py", include_str!("../../../../../examples/shop/web.py")),
    ("shop/checkout.py", include_str!("../../../../../examples/shop/checkout.py")),
    ("shop/payments.py", include_str!("../../../../../examples/shop/payments.py")),
    ("shop/stranger.py", include_str!("../../../../../examples/shop/stranger.py")),
    ("shop/redis.sh", include_str!("../../../../../examples/shop/redis.sh")),
];
/// The two manifests that close the shop to strangers.
const POLICIES: (&str, &str) = ("shop/policies.yaml", include_str!("../../../../../examples/shop/policies.yaml"));
/// As a shell tells of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
const CURL: [&str; 5] = ["curl", "-q", "-sS", "-m", "5"];
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
const FOLDER: &str = "shop";
/// Where the shop's page and its payments are published.
const WEB: &str = "http://127.0.0.1:18080/";
const PAYMENTS: &str = "http://127.0.0.1:18081/charge";
const PUBLISHED: &str = "127.0.0.1:18081";
/// All that a denied caller is told.
const DENIED: &str = "RBAC: access denied";
