//! Every process of a running workload is killed in turn: nothing is left over, or what died is replaced, and who has
//! gone is no endpoint any more.

use std::fs;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run, skipped};

/// A workload's processes, by their pids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Family {
    launcher: Pid,
    maker: Pid,
    first: Pid,
    program: Pid,
    proxy: Pid,
}

impl Family {
    fn all(&self) -> [Pid; 5] {
        [self.launcher, self.maker, self.first, self.program, self.proxy]
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

fn is_proxy(pid: &Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next().is_some_and(|name| name.ends_with(b"weft-proxy")))
}

fn is_alive(pid: &Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}

/// The family of a launcher, once it is whole.
fn family(launcher: Pid) -> Option<Family> {
    let (proxies, others): (Vec<Pid>, Vec<Pid>) = children(launcher).into_iter().filter(is_alive).partition(is_proxy);
    let ([proxy], [maker]) = (proxies.as_slice(), others.as_slice()) else { return None };
    let [first] = children(*maker)[..] else { return None };
    let [program] = children(first)[..] else { return None };
    Some(Family { launcher, maker: *maker, first, program, proxy: *proxy })
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

const SERVER: [&str; 6] = ["web", "--", "python3", "-m", "http.server", "8080"];
const ASK: [&str; 9] = ["exec", "caller", "--", "curl", "-sSf", "-o", "/dev/null", "-m30", "http://web:8080/"];

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let mut mesh = Mesh::start(User::all().pop().unwrap(), &[], &["--metrics-address", "none"]).unwrap();
    mesh.start_workload(&["caller", "--", "sleep", "1000"]).unwrap();
    mesh.weft_until(&["exec", "caller", "--", "true"], |output| output.status.success()).unwrap();
    Some(mesh)
}

/// Starts the server, and waits until it answers.
fn serve(mesh: &mut Mesh) -> Family {
    let launcher = mesh.start_workload(&SERVER).unwrap();
    mesh.weft_until(&ASK, |output| output.status.success()).unwrap();
    until("a whole family", || family(launcher))
}

fn web(mesh: &Mesh) -> usize {
    let output = mesh.weft().args(["ps", "-o", "json"]).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    rows.iter().filter(|row| row["name"] == "web").count()
}

#[test]
fn whoever_dies_takes_the_workload_along() {
    let Some(mut mesh) = mesh() else { return };
    let victims: [fn(&Family) -> Pid; 4] = [|all| all.launcher, |all| all.maker, |all| all.first, |all| all.program];
    for victim in victims {
        let web_family = serve(&mut mesh);
        kill(victim(&web_family), Signal::SIGKILL).unwrap();
        until(&format!("nothing is left of {web_family:?}"), || (!web_family.all().iter().any(is_alive)).then_some(()));
        until("it has left the mesh", || (web(&mesh) == 0).then_some(()));
        // The caller's proxy is told as well, and calls nobody.
        let refused = mesh.weft_until(&[&ASK[..3], &["curl", "-sS", "http://web:8080/"]].concat(), |output| {
            told(output).contains("no endpoint") || told(output).contains("Could not resolve")
        });
        refused.unwrap();
    }
}

#[test]
fn a_proxy_is_replaced_as_often_as_it_dies_and_ends_after_its_program() {
    let Some(mut mesh) = mesh() else { return };
    let mut before = serve(&mut mesh);
    for _ in 0..3 {
        kill(before.proxy, Signal::SIGKILL).unwrap();
        let after = until("another proxy", || family(before.launcher).filter(|now| now.proxy != before.proxy));
        assert_eq!(Family { proxy: before.proxy, ..after }, before, "nobody else was started anew");
        mesh.weft_until(&ASK, |output| output.status.success()).unwrap();
        before = after;
    }
    kill(before.program, Signal::SIGTERM).unwrap();
    until("nothing is left", || (!before.all().iter().any(is_alive)).then_some(()));
    until("it has left the mesh", || (web(&mesh) == 0).then_some(()));
}

#[test]
fn programs_go_on_while_the_control_plane_is_dead() {
    let Some(mut mesh) = mesh() else { return };
    let before = serve(&mut mesh);
    mesh.kill_control_plane().unwrap();
    assert_eq!(family(before.launcher), Some(before));
    // Proxies have what they need, and launchers tell their names.
    mesh.weft_until(&ASK, |output| output.status.success()).unwrap();
    let nobody = mesh.weft().args(["exec", "nobody", "--", "true"]).output().unwrap();
    assert!(told(&nobody).contains("no mesh runs here"), "{}", told(&nobody));
    mesh.up(&["--metrics-address", "none"]).unwrap();
    mesh.weft_until(&ASK, |output| output.status.success()).unwrap();
    assert_eq!(family(before.launcher), Some(before));
}

#[test]
fn a_program_outlives_its_proxy_while_the_control_plane_is_dead() {
    let Some(mut mesh) = mesh() else { return };
    let before = serve(&mut mesh);
    mesh.kill_control_plane().unwrap();
    kill(before.proxy, Signal::SIGKILL).unwrap();
    until("another proxy", || family(before.launcher).filter(|now| now.proxy != before.proxy));
    // It has no certificate yet, and the launcher doesn't wait for that.
    let visit = mesh.weft().args(["exec", "web", "--", "true"]).output().unwrap();
    assert!(visit.status.success(), "{}", told(&visit));
    mesh.up(&["--metrics-address", "none"]).unwrap();
    mesh.weft_until(&ASK, |output| output.status.success()).unwrap();
    let now = until("a whole family", || family(before.launcher));
    assert_eq!(Family { proxy: before.proxy, ..now }, before, "nobody else was started anew");
}

/// Such as `LD_PRELOAD`.
#[test]
fn a_programs_environment_is_not_its_proxys() {
    let Some(mut mesh) = mesh() else { return };
    let family = serve(&mut mesh);
    let names_a_home = |pid| {
        let environment = fs::read(format!("/proc/{pid}/environ"))?;
        std::io::Result::Ok(environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"HOME=")))
    };
    match [family.program, family.proxy].map(names_a_home) {
        [Ok(programs), Ok(proxys)] => assert_eq!([programs, proxys], [true, false]),
        // A proxy can't be looked into but by root.
        _ => skipped("the environment of a proxy can't be read: run the tests as root"),
    }
}
