//! A terminal with job control: what a user sees with Weft before a program's name is what is seen without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run};

/// Plays a scene with a prefix before each program's name.
const TERMINAL: &str = include_str!("../../programs/terminal.py");

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let mut mesh = Mesh::start(User::all().pop().unwrap(), &[], &["--metrics-address", "none"]).unwrap();
    mesh.start_workload(&["host", "--", "sleep", "1000"]).unwrap();
    mesh.weft_until(&["exec", "host", "--", "true"], |output| output.status.success()).unwrap();
    Some(mesh)
}

fn play(mesh: &Mesh, scene: &str, prefix: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut python = Command::new("python3");
    python.args(["-c", TERMINAL, scene]).args(prefix).envs(settings.iter().copied()).stdin(Stdio::null());
    mesh.as_user(&mut python).output().unwrap()
}

fn seen(mesh: &Mesh, scene: &str, prefix: &[&str], settings: &[(&str, &str)]) -> String {
    let output = play(mesh, scene, prefix, settings);
    assert!(output.status.success(), "{scene} {prefix:?}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Each scene with a line that it can't be without.
const SCENES: [(&str, &str); 8] = [
    ("stop", "148"),
    ("watch", "SIGWINCH 100 30"),
    ("inner", "back"),
    ("background", "hello"),
    ("raised", "goes on"),
    ("order", "SIGTSTP"),
    ("group", "got [10, 12, 15, 21]"),
    ("plain", "141 0"),
];

#[test]
fn a_terminal_shows_what_it_shows_without_weft() {
    let Some(mesh) = mesh() else { return };
    let weft = mesh.weft().get_program().to_str().unwrap().to_owned();
    for (scene, line) in SCENES {
        let without = seen(&mesh, scene, &[], &[]);
        assert!(without.lines().any(|seen| seen == line), "{scene}: no {line}: {without}");
        for prefix in [[&weft, "run", "job", "--"], [&weft, "exec", "host", "--"]] {
            assert_eq!(seen(&mesh, scene, &prefix, &[]), without, "{scene}: {prefix:?}");
        }
    }
    let without = seen(&mesh, "nowhere", &[], &[]);
    assert_eq!(seen(&mesh, "nowhere", &[&weft, "run", "job", "--"], &[]), without);
}

/// Sends what it starts signals.
const SIGNALS: &str = include_str!("../../programs/signals.py");

#[test]
fn signals_reach_a_program_as_without_weft() {
    let Some(mesh) = mesh() else { return };
    let weft = mesh.weft().get_program().to_str().unwrap().to_owned();
    let seen = |prefix: &[&str]| {
        let mut python = Command::new("python3");
        python.args(["-c", SIGNALS]).args(prefix).stdin(Stdio::null());
        let output = mesh.as_user(&mut python).output().unwrap();
        assert!(output.status.success(), "{prefix:?}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let without = seen(&[]);
    for line in ["64 64000", "last 34 -", "last 64 -", "64 -64", "its own -40", "hung up -1", "alarm -14"] {
        assert!(without.lines().any(|seen| seen == line), "no {line}: {without}");
    }
    for prefix in [[&weft, "run", "job", "--"], [&weft, "exec", "host", "--"]] {
        assert_eq!(seen(&prefix), without, "{prefix:?}");
    }
}

#[test]
fn a_shell_inside_has_jobs_of_its_own() {
    let Some(mesh) = mesh() else { return };
    let shell = mesh.home().join("shell");
    fs::write(&shell, "#!/bin/sh\nexec bash --norc --noprofile --noediting -i\n").unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let weft = mesh.weft().get_program().to_str().unwrap().to_owned();
    let without = seen(&mesh, "inner", &[], &[]);
    let settings = [("SHELL", shell.to_str().unwrap()), ("INNER", "")];
    assert_eq!(seen(&mesh, "inner", &[&weft, "shell", "host"], &settings), without);
}

/// The processes that have this text in their command line, and the user's proxies.
fn left(mesh: &Mesh, mark: &str) -> (usize, usize) {
    let ours = mesh.home().parent().unwrap().join("weft-proxy");
    let mut found = (0, 0);
    for process in fs::read_dir("/proc").unwrap().flatten().map(|process| process.path()) {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        found.0 += usize::from(String::from_utf8_lossy(&line).contains(mark));
        found.1 += usize::from(line.starts_with(ours.as_os_str().as_encoded_bytes()));
    }
    found
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing() {
    let Some(mesh) = mesh() else { return };
    let weft = mesh.weft().get_program().to_str().unwrap().to_owned();
    let mark = (1_000_000_000 + u64::from(std::process::id())).to_string();
    let before = left(&mesh, &mark);
    assert_eq!(before, (0, 1));
    for prefix in [&[weft.as_str(), "run", "job", "--"], &[weft.as_str(), "exec", "host", "--"]] {
        seen(&mesh, "hang_up", prefix, &[("MARK", &mark)]);
        let deadline = Instant::now() + PATIENCE;
        while left(&mesh, &mark) != before {
            assert!(Instant::now() < deadline, "{prefix:?}: {:?}", left(&mesh, &mark));
            std::thread::yield_now();
        }
    }
}
