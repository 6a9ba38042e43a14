//! `weft exec`: another program in a running workload, as an ordinary user. What it is in a terminal, `terminal` tries.

use std::process::{Output, Stdio};

use weft_tests::mesh::{Mesh, told};
use weft_tests::{User, can_run};

/// Admits checkout to web, and nobody else.
const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: web}\nspec:\n  \
    selector: {matchLabels: {app: web}}\n  rules:\n  \
    - from: [{source: {principals: [\"cluster.local/ns/default/sa/checkout\"]}}]\n";

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let mut mesh = Mesh::start(User::all().pop().unwrap(), &[("policy.yaml", POLICY)], &[]).unwrap();
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.start_workload(&["checkout", "--", "sleep", "1000"]).unwrap();
    mesh.start_workload(&["stranger", "--", "sleep", "1000"]).unwrap();
    let ask = ["exec", "checkout", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:8080/"];
    mesh.weft_until(&ask, |output| output.status.success()).unwrap();
    Some(mesh)
}

fn exec(mesh: &Mesh, arguments: &[&str]) -> Output {
    mesh.weft().arg("exec").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn who_joins_a_workload_calls_as_it() {
    let Some(mesh) = mesh() else { return };
    let ready = ["exec", "stranger", "--", "true"];
    mesh.weft_until(&ready, |output| output.status.success()).unwrap();
    let refused = exec(&mesh, &["stranger", "--", "curl", "-sS", "http://web:8080/"]);
    assert_eq!(text(&refused), "RBAC: access denied", "{}", told(&refused));
    // The server itself is reached at its own loopback: nobody's traffic passes the mesh there.
    let near = exec(&mesh, &["web", "--", "curl", "-sSf", "-o", "/dev/null", "http://127.0.0.1:8080/"]);
    assert!(near.status.success(), "{}", told(&near));
}

#[test]
fn it_ends_as_its_program_does_and_sees_nothing_of_wefts() {
    let Some(mesh) = mesh() else { return };
    for code in [0, 7, 255] {
        let output = exec(&mesh, &["checkout", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
    }
    let killed = exec(&mesh, &["checkout", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(15), "{}", told(&killed));
    assert_eq!(exec(&mesh, &["checkout", "--", "/no/such/program"]).status.code(), Some(127));

    let state = mesh.home().join(".local/state/weft");
    assert!(std::fs::read_dir(&state).unwrap().count() > 3);
    let hidden = exec(&mesh, &["checkout", "--", "ls", "-A", state.to_str().unwrap()]);
    assert_eq!((hidden.status.code(), text(&hidden)), (Some(0), String::new()), "{}", told(&hidden));
    let here = exec(&mesh, &["checkout", "--", "sh", "-c", "pwd; echo $HOME"]);
    let home = mesh.home().display().to_string();
    assert_eq!(text(&here), format!("{home}\n{home}"), "{}", told(&here));
    // From inside, no weft command reaches the control plane, nor the way into another workload.
    let weft = mesh.weft().get_program().to_owned();
    let inner = exec(&mesh, &["checkout", "--", weft.to_str().unwrap(), "exec", "web", "--", "true"]);
    assert!(!inner.status.success() && told(&inner).contains("no mesh runs here"), "{}", told(&inner));
}

#[test]
fn who_is_not_there_is_told_by_name() {
    let Some(mesh) = mesh() else { return };
    let output = exec(&mesh, &["payments", "--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let said = told(&output);
    assert!(said.contains("no workload payments runs in the namespace default") && said.contains("weft ps"), "{said}");
}

/// By root alone: the program, and whoever joins it, is that user and no more.
#[test]
fn a_program_of_another_user_is_caged_in_its_visits_too() {
    let mesh = Mesh::start(User::Own, &[], &[]).unwrap();
    if !nix::unistd::geteuid().is_root() {
        let refused = mesh.run(&["web", "--user", "nobody", "--", "true"]).unwrap();
        assert!(told(&refused).contains("expected to be root"), "{}", told(&refused));
        return;
    }
    let mut mesh = mesh;
    mesh.start_workload(&["web", "--user", "nobody", "--", "python3", "-m", "http.server", "80"]).unwrap();
    let ask = ["run", "caller", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:80/"];
    mesh.weft_until(&ask, |output| output.status.success()).unwrap();
    let script = "cd /; id -u; id -g; grep CapBnd /proc/self/status";
    let who = exec(&mesh, &["web", "--", "/bin/sh", "-c", script]);
    assert_eq!(text(&who), "65534\n65534\nCapBnd:\t0000000000000000", "{}", told(&who));
    let state = mesh.home().join(".local/state/weft");
    assert!(!exec(&mesh, &["web", "--", "ls", state.to_str().unwrap()]).status.success());
}
