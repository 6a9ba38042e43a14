//! A folder that names programs: they are started, kept running, replaced when their text changes, and ended.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{Installation, User, can_run, missing};

/// Answers each request with its first argument.
const SERVER: &str = r#"
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"#;

fn web(word: &str) -> String {
    format!(
        "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  \
         command: [python3, -u, ../server.py, {word}]\n  readiness: {{httpGet: {{port: 8080}}}}\n"
    )
}

fn mesh(files: &[(&str, &str)]) -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let mesh = Mesh::start(User::all().pop().unwrap(), &[], &[]).unwrap();
    fs::write(mesh.home().join("server.py"), SERVER).unwrap();
    files.iter().for_each(|(name, text)| mesh.write(name, text).unwrap());
    Some(mesh)
}

/// What `weft ps` says, once it says what is waited for.
fn ps_until(mesh: &Mesh, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let read = |text: &[u8]| serde_json::from_slice::<Vec<Value>>(text).unwrap_or_default();
    let output = mesh.weft_until(&["ps", "-o", "json"], |output| wanted(&read(&output.stdout))).unwrap();
    read(&output.stdout)
}

fn ready(rows: &[Value], name: &str) -> usize {
    rows.iter().filter(|row| row["name"] == name && row["state"] == "ready").count()
}

fn pids(rows: &[Value]) -> Vec<u64> {
    rows.iter().filter_map(|row| row["pid"].as_u64()).collect()
}

/// Started by hand, with its log on a full disk; then its terminal is closed.
#[test]
fn a_control_plane_outlives_its_log_and_ends_its_programs_with_its_terminal() {
    if !can_run() {
        return;
    }
    let installation = Installation::new(User::all().pop().unwrap()).unwrap();
    let folder = installation.home().join("manifests");
    fs::create_dir(&folder).unwrap();
    let sleeper = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: sleeper}\n\
                   spec: {command: [sleep, \"1000\"]}\n";
    fs::write(folder.join("sleeper.yaml"), sleeper).unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    // Who started the tests may ignore the signal, as nohup does.
    let mut up = Command::new("env");
    up.arg("--default-signal=HUP").arg(installation.weft().get_program());
    up.args(["up", "--metrics-address", "none", "-f"]).arg(&folder);
    let up = installation.as_user(&mut up).stdin(Stdio::null()).stdout(Stdio::null()).stderr(full());
    let mut up = up.spawn().unwrap();
    let rows = || {
        let output = installation.weft().args(["ps", "-o", "json"]).output().unwrap();
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_default()
    };
    let deadline = Instant::now() + PATIENCE;
    while ready(&rows(), "sleeper") == 0 {
        assert!(Instant::now() < deadline && up.try_wait().unwrap().is_none(), "{:?}", rows());
    }
    let launchers = pids(&rows());
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGHUP).unwrap();
    assert!(up.wait().unwrap().success());
    assert!(launchers.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "{launchers:?}");
}

const CALL: &[&str] = &["caller", "--", "curl", "-sS", "-m", "30", "http://web:8080/"];

#[test]
fn a_new_text_replaces_programs_without_a_failed_call() {
    let Some(mut mesh) = mesh(&[("web.yaml", &web("one"))]) else { return };
    let rows = ps_until(&mesh, |rows| ready(rows, "web") == 2);
    assert_eq!(rows.len(), 2, "{rows:?}");
    // One caller asks all the while, each time on a connection of its own.
    let script = "while true; do curl -sS -m 30 http://web:8080/; echo; done";
    mesh.start_workload(&["caller", "--", "sh", "-c", script]).unwrap();
    let heard = || fs::read_to_string(mesh.home().join("caller-0.out")).unwrap();
    let wait_for = |word: &str| {
        let deadline = Instant::now() + PATIENCE;
        while heard().lines().rev().take(20).filter(|line| *line == word).count() < 20 {
            assert!(Instant::now() < deadline, "{}", heard());
            std::thread::yield_now();
        }
    };
    wait_for("one");
    mesh.write("web.yaml", &web("two")).unwrap();
    wait_for("two");
    let said = heard();
    let odd: Vec<&str> = said.lines().filter(|line| !["one", "two", ""].contains(line)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let rows = ps_until(&mesh, |rows| ready(rows, "web") == 2 && rows.len() == 3);
    assert!(rows.iter().filter(|row| row["name"] == "web").all(|row| row["command"][3] == "two"), "{rows:?}");
    fs::remove_file(mesh.folder().join("web.yaml")).unwrap();
    ps_until(&mesh, |rows| rows.len() == 1);
}

#[test]
fn one_that_fails_is_started_again_and_its_words_are_kept() {
    let crash = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: crash}\nspec:\n  \
                 command: [sh, -c, \"echo $WORD; exit 3\"]\n  env: {WORD: dying}\n";
    let Some(mesh) = mesh(&[("crash.yaml", crash)]) else { return };
    let is_waiting = |row: &Value| row["state"].as_str().is_some_and(|state| state.starts_with("restart in "));
    let rows = ps_until(&mesh, |rows| rows.iter().any(is_waiting));
    assert!(rows[0]["state"].as_str().unwrap().ends_with("(exit 3)"), "{rows:?}");
    let wanted = "dying\ndying\n";
    let output = mesh.weft_until(&["logs", "crash"], |output| output.stdout.starts_with(wanted.as_bytes())).unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let last = mesh.weft().args(["logs", "crash", "--tail", "1"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&last.stdout), "dying\n");
    // A broken edit ends nothing; the mended one counts.
    mesh.write("crash.yaml", &crash.replace("command", "comand")).unwrap();
    mesh.write("crash.yaml", &crash.replace("exit 3", "exec sleep 1000")).unwrap();
    ps_until(&mesh, |rows| ready(rows, "crash") == 1);
}

#[test]
fn programs_outlive_a_killed_control_plane_and_end_with_the_mesh() {
    let Some(mesh) = mesh(&[("web.yaml", &web("one"))]) else { return };
    let before = ps_until(&mesh, |rows| ready(rows, "web") == 2);
    mesh.kill_control_plane().unwrap();
    mesh.up(&[]).unwrap();
    let after = ps_until(&mesh, |rows| ready(rows, "web") == 2);
    let sorted = |rows: &[Value]| {
        let mut pids = pids(rows);
        pids.sort();
        pids
    };
    assert_eq!(sorted(&before), sorted(&after));
    // One that dies is missed though an earlier control plane started it.
    let victim = Pid::from_raw(pids(&after)[0] as i32);
    kill(victim, Signal::SIGKILL).unwrap();
    let rows = ps_until(&mesh, |rows| ready(rows, "web") == 2 && sorted(rows) != sorted(&after));
    let down = mesh.weft().arg("down").output().unwrap();
    assert!(down.status.success(), "{}", told(&down));
    // Nobody may be there to reap those whose control plane was killed.
    let status = |pid: &u64| fs::read_to_string(format!("/proc/{pid}/status"));
    let is_alive = |pid: &u64| status(pid).is_ok_and(|status| !status.contains("State:\tZ"));
    assert!(!pids(&rows).iter().any(is_alive));
    assert_eq!(fs::read_dir(mesh.home().join(".local/state/weft/run")).unwrap().count(), 1, "the killed one's");
}

#[test]
fn who_is_not_ready_is_not_called() {
    let text = web("one")
        .replace("httpGet: {port: 8080}", "exec: {command: [test, -e, up]}")
        .replace("replicas: 2", "workingDir: ..");
    let text = text.replace("../server.py", "server.py");
    let Some(mesh) = mesh(&[("web.yaml", &text)]) else { return };
    let up = mesh.home().join("up");
    let rows = ps_until(&mesh, |rows| rows.len() == 1 && rows[0]["state"] == "starting");
    assert_eq!(rows[0]["name"], "web");
    fs::write(&up, "").unwrap();
    mesh.run_until(CALL, |output| output.stdout == b"one").unwrap();
    fs::remove_file(&up).unwrap();
    mesh.run_until(CALL, |output| String::from_utf8_lossy(&output.stdout).contains("no endpoint")).unwrap();
    fs::write(&up, "").unwrap();
    mesh.run_until(CALL, |output| output.stdout == b"one").unwrap();
}

/// Root's alone; everybody else is told so.
#[test]
fn a_program_runs_as_the_user_that_its_file_names() {
    let text = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: who}\nspec:\n  \
                command: [sh, -c, \"cd /; id -u; exec sleep 1000\"]\n  user: nobody\n";
    let expected = |user| if user == User::Own && nix::unistd::geteuid().is_root() { "65534" } else { "to be root" };
    for user in User::all() {
        if !can_run() {
            return;
        }
        let mesh = Mesh::start(user, &[("who.yaml", text)], &["--metrics-address", "none"]).unwrap();
        mesh.weft_until(&["logs", "who"], |output| told(output).contains(expected(user))).unwrap();
    }
}

#[test]
fn one_in_the_background_is_called_once_it_answers_and_one_in_the_foreground_keeps_its_words() {
    let Some(mut mesh) = mesh(&[]) else { return };
    let server = mesh.home().join("server.py").display().to_string();
    let arguments = ["run", "-d", "--ready-http", "8080/x", "web", "--", "python3", "-u", &server, "three"];
    let started = mesh.weft().args(arguments).output().unwrap();
    assert!(started.status.success() && told(&started).contains("weft logs web"), "{}", told(&started));
    let output = mesh.run(CALL).unwrap();
    assert_eq!(output.stdout, b"three", "{}", told(&output));
    let failed = mesh
        .weft()
        .args(["run", "-d", "--ready-port", "9", "sad", "--", "sh", "-c", "echo no; exit 4"])
        .output()
        .unwrap();
    assert!(!failed.status.success() && told(&failed).contains("exit status: 4): no"), "{}", told(&failed));
    mesh.start_workload(&["near", "--", "sleep", "1000"]).unwrap();
    ps_until(&mesh, |rows| ready(rows, "near") == 1);
    let logs = mesh.weft().args(["logs", "near"]).output().unwrap();
    assert!(!logs.status.success() && told(&logs).contains("runs in the foreground"), "{}", told(&logs));
}

/// Two replicas of checkout count orders in one Redis, which is called over the mesh like all else.
#[test]
fn the_shop_counts_its_orders_in_redis() {
    if !can_run() {
        return;
    }
    // In a network of its own, where the ports that it publishes are free.
    let installation = Installation::new(User::all().pop().unwrap()).unwrap().within(&[]).unwrap();
    let mesh = Mesh::of(installation, &[], &[]).unwrap();
    if !mesh.as_user(Command::new("redis-server").arg("--version")).output().is_ok_and(|it| it.status.success()) {
        return missing("redis-server").unwrap_or_default();
    }
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
    for file in fs::read_dir(shop).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        mesh.write(file.file_name().unwrap().to_str().unwrap(), &text).unwrap();
    }
    ps_until(&mesh, |rows| ready(rows, "redis") == 1 && ready(rows, "checkout") == 2 && ready(rows, "web") == 1);
    let order = || {
        let mut curl = mesh.command("curl");
        let output = curl.args(["-sS", "-m", "30", "http://127.0.0.1:18080/"]).output().unwrap();
        let text = told(&output);
        let number =
            text.split_once("order ").and_then(|(_, rest)| rest.split_once(": charged")?.0.parse::<u64>().ok());
        number.ok_or(text)
    };
    let deadline = Instant::now() + PATIENCE;
    let mut first = order();
    while first.is_err() {
        assert!(Instant::now() < deadline, "{first:?}");
        first = order();
    }
    let orders: Vec<u64> = (0..8).map(|_| order().unwrap()).collect();
    let first = first.unwrap();
    assert_eq!(orders, (first + 1..=first + 8).collect::<Vec<u64>>());
}
