//! What goes on while things change: edits of the folder, also while the control plane is away; and
//! what is left when a launcher dies.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run};

fn policy(account: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: web}}\nspec:\n  rules:\n    \
         - from: [{{source: {{principals: [\"cluster.local/ns/default/sa/{account}\"]}}}}]\n"
    )
}

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let user = User::all().pop().unwrap();
    let mut mesh = Mesh::start(user, &[("policy.yaml", &policy("caller"))], &[]).unwrap();
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.run_until(ASK, |output| output.status.success()).unwrap();
    Some(mesh)
}

const ASK: &[&str] = &["caller", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:8080/"];

#[test]
fn an_edited_file_takes_effect_and_a_broken_one_opens_nothing() {
    let Some(mesh) = mesh() else { return };
    mesh.write("policy.yaml", &policy("other")).unwrap();
    mesh.run_until(ASK, |output| !output.status.success()).unwrap();
    mesh.write("policy.yaml", &policy("caller").replace("rules", "ruels")).unwrap();
    let log = || std::fs::read_to_string(mesh.home().join(".local/state/weft/logs/control.log")).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !log().contains("ruels") {
        assert!(std::time::Instant::now() < deadline, "{}", log());
        std::thread::yield_now();
    }
    // What is wrong is told once, and not again with each edit of another file.
    let (said, changes) = (log().matches("ruels").count(), log().matches("the folder has changed").count());
    mesh.write("other.yaml", &policy("caller").replace("name: web", "name: other, namespace: other")).unwrap();
    while log().matches("the folder has changed").count() == changes {
        assert!(std::time::Instant::now() < deadline, "{}", log());
        std::thread::yield_now();
    }
    let still = mesh.run(ASK).unwrap();
    assert!(!still.status.success(), "{}", told(&still));
    assert_eq!(log().matches("ruels").count(), said, "{}", log());
    mesh.write("policy.yaml", &policy("caller")).unwrap();
    mesh.run_until(ASK, |output| output.status.success()).unwrap();
}

#[test]
fn what_the_control_plane_says_in_the_background_is_bounded() {
    let Some(mesh) = mesh() else { return };
    let path = mesh.home().join(".local/state/weft/logs/control.log");
    let mut log = std::fs::File::options().append(true).open(&path).unwrap();
    log.write_all(&vec![b'x'; 9 << 20]).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::fs::metadata(&path).unwrap().len() > 8 << 20 {
        assert!(std::time::Instant::now() < deadline, "it isn't cut");
        std::thread::yield_now();
    }
}

#[test]
fn what_changed_while_the_control_plane_was_away_takes_effect() {
    let Some(mesh) = mesh() else { return };
    mesh.kill_control_plane().unwrap();
    mesh.write("policy.yaml", &policy("other")).unwrap();
    mesh.up(&[]).unwrap();
    mesh.run_until(ASK, |output| !output.status.success()).unwrap();
}

#[test]
fn a_program_ends_as_it_does_without_weft() {
    let Some(mesh) = mesh() else { return };
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
        let output = mesh.run(&["job", "--", "sh", "-c", script]).unwrap();
        assert_eq!(output.status.code(), Some(code), "{script}: {}", told(&output));
    }
    let killed = mesh.run(&["job", "--", "sh", "-c", "kill -TERM $$"]).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(15), "{}", told(&killed));
    let missing = mesh.run(&["job", "--", "/no/such/program"]).unwrap();
    assert_eq!(missing.status.code(), Some(127), "{}", told(&missing));
}

/// Says something on an open connection when it is interrupted.
const GRACEFUL: &str = r#"
import signal, socket, sys
echo = socket.create_connection(("echo", 9000))
def end(*_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    echo.sendall(b"still there\n")
    print(echo.recv(64).decode())
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("started", flush=True)
while True:
    signal.pause()
"#;

#[test]
fn a_program_that_is_interrupted_keeps_its_connections_to_its_end() {
    let Some(mut mesh) = mesh() else { return };
    mesh.start_workload(&["echo", "--", "python3", "-c", weft_tests::load::SERVER]).unwrap();
    let ask = ["caller", "--", "curl", "-sSf", "-o", "/dev/null", "http://echo:8080/"];
    mesh.run_until(&ask, |output| output.status.success()).unwrap();
    let mut job = mesh.weft();
    job.args(["run", "caller", "--", "python3", "-c", GRACEFUL]).process_group(0);
    let mut job = job.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut started = [0; 8];
    job.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
    // As a terminal does: to the whole job.
    killpg(Pid::from_raw(job.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = job.wait_with_output().unwrap();
    assert!(output.status.success() && told(&output).contains("still there"), "{}", told(&output));
}

#[test]
fn a_launcher_that_is_killed_leaves_nothing() {
    let Some(mut mesh) = mesh() else { return };
    let launcher = mesh.start_workload(&["sleeper", "--", "sleep", "1000"]).unwrap();
    let rows = || String::from_utf8(mesh.weft().args(["ps", "-o", "json"]).output().unwrap().stdout).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let children = || std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).unwrap_or_default();
    while !rows().contains("sleeper") || children().split_whitespace().count() < 2 {
        assert!(std::time::Instant::now() < deadline, "{}", rows());
    }
    let family: Vec<String> = children().split_whitespace().map(str::to_owned).collect();
    kill(launcher, Signal::SIGKILL).unwrap();
    let alive = |pid: &String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while rows().contains("sleeper") || family.iter().any(alive) {
        assert!(std::time::Instant::now() < deadline, "{family:?} {}", rows());
    }
}
