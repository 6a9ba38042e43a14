//! Sandboxes with unmodified programs (python3, curl, sh) and a tiny proxy in their test.
//!
//! A process that prepares a sandbox must have one thread, so each case is a process of its own, which this one
//! starts: as the user who runs the tests, and as an ordinary user when that is root.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test without libtest, whose output is its report")]

mod cases;
mod datagrams;
mod isolation;
mod lifetime;
mod pod;
mod rig;
mod visit;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use weft_capture::{Outcome, probe};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--case", name] => case(name),
        ["--launch", what] => lifetime::launch(what),
        words => run_all(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default()),
    }
}

/// One case in this process. A panic fails it.
fn case(name: &str) -> ExitCode {
    if name == PROBE {
        return show_probe();
    }
    if name == isolation::FALSE_NSCD {
        isolation::false_nscd();
        return ExitCode::SUCCESS;
    }
    if name == datagrams::WITHOUT_RAW {
        datagrams::without_raw_sockets();
        return ExitCode::SUCCESS;
    }
    let (_, run) = all().into_iter().find(|(known, _)| *known == name).expect("a known case");
    run();
    ExitCode::SUCCESS
}

fn all() -> Vec<(&'static str, fn())> {
    [cases::ALL, datagrams::ALL, isolation::ALL, lifetime::ALL, pod::ALL, visit::ALL].concat()
}

fn run_all(filter: &str) -> ExitCode {
    let folder = tempfile::Builder::new().prefix("weft-capture-").tempdir().expect("a temporary folder");
    let program = folder.path().join("sandbox");
    std::fs::copy(std::env::current_exe().expect("the test's path"), &program).expect("a copy that all users reach");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("a folder that all users reach");
    // What a killed launcher leaves here goes with the folder.
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("a folder for the cases");
    std::fs::set_permissions(&scratch, PermissionsExt::from_mode(0o1777)).expect("a folder that all users write to");

    let root = nix::unistd::geteuid().is_root();
    let mut failed = 0;
    for user in if root { &[Some(ORDINARY), None][..] } else { &[None] } {
        let who = user.map_or("the test's user".to_owned(), |id| format!("user {id}"));
        let probed = run(&program, PROBE, *user);
        if ![Some(0), Some(UNUSABLE.into())].contains(&probed.status.code()) {
            failed += usize::from(!report(PROBE, &who, &probed));
            continue;
        }
        if !probed.status.success() {
            println!("skipped: all cases as {who}: {}", String::from_utf8_lossy(&probed.stdout));
            continue;
        }
        print!("{}", String::from_utf8_lossy(&probed.stdout));
        for (name, _) in all().iter().filter(|(name, _)| name.contains(filter)) {
            failed += usize::from(!report(name, &who, &run(&program, name, *user)));
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(program: &Path, case: &str, user: Option<u32>) -> Output {
    let mut command = Command::new(program);
    command
        .args(["--case", case])
        .current_dir("/")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", program.with_file_name("scratch"));
    // No folder among them that the ordinary user can't search.
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(id) = user {
        command.gid(id).uid(id);
    }
    command.output().expect("a process for the case")
}

fn report(name: &str, who: &str, output: &Output) -> bool {
    let passed = output.status.success();
    println!("{} {name} ({who})", if passed { "ok    " } else { "FAILED" });
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        for line in text.lines().filter(|line| !passed || line.starts_with("note: ") || line.starts_with("skipped: ")) {
            println!("       {line}");
        }
    }
    passed
}

/// Says what the kernel allows, and fails when programs can't be run at all.
fn show_probe() -> ExitCode {
    let findings = probe().expect("a probe");
    let mut usable = true;
    for finding in &findings {
        match &finding.outcome {
            Outcome::Works => {}
            Outcome::NotTried => println!("not tried: {}", finding.ability),
            Outcome::Missing(failure) => {
                println!("missing: {}: {failure}; {}", finding.ability, failure.hint().unwrap_or_default());
                usable &= finding.otherwise.is_some();
            }
        }
    }
    assert_eq!(findings.len(), 9);
    if usable { ExitCode::SUCCESS } else { ExitCode::from(UNUSABLE) }
}

const PROBE: &str = "probe";
/// The exit code of a probe that found no way to run a program; a panic's is another.
const UNUSABLE: u8 = 3;
/// `nobody`.
const ORDINARY: u32 = 65534;
