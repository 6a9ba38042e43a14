//! README's first command, as every user that can be had here.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use weft_tests::mesh::PATIENCE;
use weft_tests::{Installation, User, can_run};

#[test]
fn the_demo_holds_its_claims() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let installation = Installation::new(user).unwrap();
        let mut demo = installation.weft();
        // As where the way out is a proxy's: the demo's own network has no way out.
        demo.args(["demo", "--once"]).env("http_proxy", "http://192.0.2.1:3128").env("ALL_PROXY", "socks5://192.0.2.1");
        demo.env("HOST", "x86_64-conda-linux-gnu").env("PORT", "3000");
        let output = demo.output().unwrap();
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{user:?}: {told}\n{errors}");
        assert!(told.contains(" claims held, 0 failed"), "{user:?}: {told}");
    }
}

/// The shop is open to everybody, then closed by the manifests; Ctrl-C leaves no process.
#[test]
fn the_live_demo_closes_the_shop_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let installation = Installation::new(User::all().pop().unwrap()).unwrap();
    let path = installation.home().join("demo.out");
    let output = File::create(&path).unwrap();
    let errors = output.try_clone().unwrap();
    let mut demo = installation.weft();
    let mut demo = demo.arg("demo").stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
    let seen = || fs::read_to_string(&path).unwrap();
    let until = |text: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !seen().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {}", seen());
            std::thread::yield_now();
        }
    };
    until("payments told me: charged card-4929-1312-0007-2026");
    until("payments refused me: 403 RBAC: access denied");
    until("(payments/payments-policy at policies.yaml:12)");
    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(demo.wait().unwrap().success(), "{}", seen());
    nothing_is_left(&installation);
}

#[test]
fn a_live_demo_whose_reader_has_gone_ends() {
    if !can_run() {
        return;
    }
    let installation = Installation::new(User::all().pop().unwrap()).unwrap();
    let mut demo = installation.weft();
    let mut demo = demo.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let first = BufReader::new(demo.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(first.starts_with("Starting examples/shop"), "{first}");
    assert!(demo.wait().unwrap().success());
    nothing_is_left(&installation);
}

/// No process of the installation's programs, soon.
fn nothing_is_left(installation: &Installation) {
    let ours = installation.home().parent().unwrap().to_path_buf();
    let runs = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let programs = processes.filter_map(|process| fs::read_link(process.path().join("exe")).ok());
        programs.filter(|program| program.starts_with(&ours)).count()
    };
    let deadline = Instant::now() + PATIENCE;
    while runs() > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", runs());
        std::thread::yield_now();
    }
}

/// A terminal's Ctrl-C goes to all of the demo's own; a kill to it alone.
#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    if !can_run() {
        return;
    }
    let moments = [
        (&["demo", "--once"][..], "Without Weft", Signal::SIGINT, Some(130)),
        (&["demo", "--once"], "With Weft", Signal::SIGINT, Some(130)),
        (&["demo", "--once"], "the shop sells", Signal::SIGTERM, Some(130)),
        (&["demo"], "Starting examples/shop", Signal::SIGINT, Some(0)),
        (&["demo"], "weft stat", Signal::SIGKILL, None),
    ];
    for (arguments, moment, signal, code) in moments {
        let installation = Installation::new(User::all().pop().unwrap()).unwrap();
        let stages = installation.home().join("stages");
        installation.command("mkdir".as_ref()).arg(&stages).status().unwrap();
        let mut demo = installation.weft();
        demo.args(arguments).env("TMPDIR", &stages).process_group(0);
        let mut demo = demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains(moment)).unwrap().unwrap();
        let pid = Pid::from_raw(demo.id().cast_signed());
        if signal == Signal::SIGINT { killpg(pid, signal) } else { kill(pid, signal) }.unwrap();
        // It may go on writing until it ends.
        lines.for_each(drop);
        assert_eq!(demo.wait().unwrap().code(), code, "{arguments:?} {moment}");
        nothing_is_left(&installation);
        if signal != Signal::SIGKILL {
            assert_eq!(fs::read_dir(&stages).unwrap().count(), 0, "{arguments:?} {moment}");
        }
    }
}
