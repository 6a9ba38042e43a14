//! Machines and containers that allow less: what fails says which setting is in the way and how to change it, and what
//! can be done without is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use weft_tests::mesh::told;
use weft_tests::{Installation, User, can_run, skipped};

/// A mesh from its beginning to its end, by the `weft` that is the first argument.
const FLOW: &str = r#"
"$1" up -d --metrics-address none 2>&1
"$1" run web -- sh -c 'echo the program runs' 2>&1; echo "run ended with $?"
"$1" check 2>&1
"$1" down 2>&1
"#;
/// Docker's default seccomp profile, as far as namespaces go.
const SECCOMP: &str = include_str!("../../programs/seccomp.py");
const NO_CAPABILITIES: &str = "setpriv --bounding-set=-all --inh-caps=-all";
const ANOTHER_USER: &str = "unshare -U --map-user=1000 --map-group=1000";

/// What the mesh says when `before`, a line of the shell, has prepared the place; it ends with what runs the rest.
fn flow(before: &str) -> Option<String> {
    if !can_run() {
        return None;
    }
    let installation = Installation::new(User::all().pop().unwrap()).unwrap();
    let mut shell = installation.command(Path::new("unshare"));
    shell.args(["-U", "-r", "-m", "sh", "-c", &format!("{before} sh -c \"$FLOW\" sh \"$WEFT\"")]);
    shell.env("FLOW", FLOW).env("SECCOMP", SECCOMP).env("WEFT", installation.weft().get_program());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    Some(told(&output))
}

/// The line of the place, and what is said there.
fn fails_with(before: &str, hint: &str) {
    let Some(said) = flow(before) else { return };
    assert!(said.contains("run ended with 1") && !said.contains("the program runs"), "{before}: {said}");
    let after_run = said.split("run ended").next().unwrap();
    assert!(after_run.contains("hint: ") && after_run.contains(hint), "{before}: {said}");
    let check = said.split("run ended").nth(1).unwrap();
    assert!(check.contains("FAIL  kernel: ") && check.contains(hint), "{before}: {said}");
}

#[test]
fn a_limit_of_namespaces_is_named() {
    let limit = |kind: &str, then: &str| format!("echo 0 >/proc/sys/user/max_{kind}_namespaces && exec {then}");
    fails_with(&limit("user", NO_CAPABILITIES), "`sysctl -w user.max_user_namespaces=15000`");
    fails_with(&limit("net", ANOTHER_USER), "`sysctl -w user.max_net_namespaces=15000`");
    fails_with(&limit("mnt", ANOTHER_USER), "`sysctl -w user.max_mnt_namespaces=15000`");
    // Without processes of its own a program runs, and that is said.
    let Some(said) = flow(&limit("pid", ANOTHER_USER)) else { return };
    assert!(said.contains("the program runs") && said.contains("run ended with 0"), "{said}");
    assert!(said.contains("the program sees the processes around it"), "{said}");
    assert!(said.contains("`sysctl -w user.max_pid_namespaces=15000`"), "{said}");
}

#[test]
fn a_container_that_forbids_namespaces_is_told_how_to_allow_them() {
    fails_with(&format!("exec {ANOTHER_USER} python3 -c \"$SECCOMP\""), "seccomp=unconfined");
    fails_with(&format!("exec {NO_CAPABILITIES}"), "--cap-add SETFCAP");
}

#[test]
fn what_the_user_lacks_is_named() {
    for (before, hint) in [
        ("mount -t tmpfs -o ro none \"$HOME\" && exec", "--state-dir DIR"),
        ("mount -t tmpfs -o size=4k none \"$HOME\" && head -c 4096 /dev/zero >\"$HOME/full\"; exec", "has space"),
        ("unset HOME; exec", "--state-dir DIR"),
        ("ulimit -n 20; exec", "`ulimit -n 1024`"),
    ] {
        let Some(said) = flow(before) else { return };
        assert!(
            !said.contains("the program runs") && said.contains("error: ") && said.contains(hint),
            "{before}: {said}"
        );
    }
    let Some(said) = flow("ulimit -n 256; exec") else { return };
    assert!(said.contains("the program runs") && said.contains("warn  open files"), "{said}");
}

/// A container of runc's own making, in which an ordinary user runs the flow; `change` is made to its configuration.
fn in_container(change: impl FnOnce(&mut Value)) -> Option<Output> {
    if !nix::unistd::geteuid().is_root() || Command::new("runc").arg("--version").output().is_err() {
        skipped("a container needs root and runc");
        return None;
    }
    let folder = tempfile::Builder::new().prefix("weft-container-").tempdir().unwrap();
    let installation = Installation::new(User::Nobody).unwrap();
    let place = |name: &str| folder.path().join(name);
    for name in ["proc", "sys", "dev", "tmp", "weft", "home"].iter().chain(&HOST) {
        fs::create_dir_all(place("rootfs").join(name)).unwrap();
    }
    fs::create_dir(place("home")).unwrap();
    chown(place("home"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let spec = Command::new("runc").args(["spec", "-b"]).arg(folder.path()).output().unwrap();
    assert!(spec.status.success(), "{}", told(&spec));
    let mut config: Value = serde_json::from_slice(&fs::read(place("config.json")).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    config["process"]["env"].as_array_mut().unwrap().push(json!("HOME=/home"));
    config["process"]["args"] = json!(["sh", "-c", FLOW, "sh", "/weft/weft"]);
    let bind = |from: &Path, to: &str, how: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", how]});
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.extend(HOST.map(|name| format!("/{name}")).iter().map(|path| bind(Path::new(path), path, "ro")));
    mounts.push(bind(installation.home().parent().unwrap(), "/weft", "ro"));
    mounts.push(bind(&place("home"), "/home", "rw"));
    change(&mut config);
    fs::write(place("config.json"), config.to_string()).unwrap();
    let name = folder.path().file_name().unwrap();
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(place("state")).args(["run", "-b"]).arg(folder.path()).arg(name).stdin(Stdio::null());
    Some(runc.output().unwrap())
}

/// The host's folders that a container of a test shares.
const HOST: [&str; 6] = ["usr", "bin", "lib", "lib64", "sbin", "etc"];

#[test]
fn a_container_may_run_a_mesh() {
    let Some(output) = in_container(|_| {}) else { return };
    let said = told(&output);
    assert!(said.contains("the program runs") && said.contains("run ended with 0"), "{said}");
    // Its engine covers parts of /proc.
    assert!(said.contains("the program sees the processes around it"), "{said}");
    assert!(said.contains("systempaths=unconfined"), "{said}");
    let Some(output) = in_container(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    }) else {
        return;
    };
    let said = told(&output);
    assert!(said.contains("the program runs") && !said.contains("sees the processes around it"), "{said}");
}

#[test]
fn a_container_with_dockers_filter_says_how_to_start_it() {
    let refuse = |names: &[&str]| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1});
    let Some(output) = in_container(|config| {
        let calls = [refuse(&["unshare", "setns", "mount"])];
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls});
    }) else {
        return;
    };
    let said = told(&output);
    assert!(said.contains("run ended with 1") && said.contains("--security-opt seccomp=unconfined"), "{said}");
}
