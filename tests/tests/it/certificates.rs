//! What certificates promise: leaves of seconds change under load, and an authority that is away
//! for half of a leaf's life is missed by nobody. One failed request fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use weft_identity::{Authority, AuthorityLifetimes, issuer_due};
use weft_mesh::TrustDomain;
use weft_tests::load::Load;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run};

/// How many requests must go well.
const REQUESTS: u32 = 10_000;
/// A life of a certificate of which two thirds are left when it is renewed: a busy machine may take some of them.
const SHORT: &str = "12s";

/// A mesh in which `web` answers.
fn mesh(lifetime: &str) -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    let mut mesh = Mesh::start(User::all().pop().unwrap(), &[], &["--cert-lifetime", lifetime]).unwrap();
    serve(&mut mesh);
    Some(mesh)
}

fn serve(mesh: &mut Mesh) {
    mesh.start_workload(&["web", "--", "python3", "-c", weft_tests::load::SERVER]).unwrap();
    let ask = ["load", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:8080/"];
    mesh.run_until(&ask, |output| output.status.success()).unwrap();
}

fn certs(mesh: &Mesh) -> Value {
    let output = mesh.weft().args(["certs", "-o", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(&output)))
}

/// By workload, what `weft certs` tells of its certificate, once all that are named have one.
fn certificates(mesh: &Mesh) -> BTreeMap<String, Value> {
    let certs = certs(mesh);
    let rows = certs["workloads"].as_array().unwrap();
    let row = |row: &Value| (row["workload"].as_str().unwrap().to_owned(), row["certificate"].clone());
    rows.iter().map(row).filter(|(_, certificate)| !certificate.is_null()).collect()
}

fn certificates_until(mesh: &Mesh, wanted: impl Fn(&BTreeMap<String, Value>) -> bool) -> BTreeMap<String, Value> {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let found = certificates(mesh);
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:#?}\n{}", mesh.proxy_logs());
    }
}

/// Waits until every workload has another certificate than `before`.
fn until_renewed(mesh: &Mesh, before: &BTreeMap<String, Value>) {
    let is_other = |(workload, old): (&String, &Value), now: &BTreeMap<String, Value>| {
        now.get(workload).is_some_and(|new| new["serial"] != old["serial"])
    };
    certificates_until(mesh, |now| before.iter().all(|row| is_other(row, now)));
}

fn seconds(certificate: &Value, field: &str) -> i64 {
    certificate[field].as_i64().unwrap_or_else(|| panic!("no {field} in {certificate:#}"))
}

#[test]
fn leaves_of_seconds_change_under_load() {
    let Some(mesh) = mesh(SHORT) else { return };
    let load = Load::start(&mesh, REQUESTS);
    // Each is renewed after a third of its life: that makes three lives.
    let mut serials: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let deadline = Instant::now() + 2 * PATIENCE;
    while serials.len() < 2 || serials.values().any(|serials| serials.len() < 10) {
        assert!(Instant::now() < deadline, "{serials:#?}");
        for (workload, certificate) in certificates(&mesh) {
            serials.entry(workload).or_default().insert(certificate["serial"].to_string());
        }
    }
    load.finish();
}

#[test]
fn an_authority_that_is_away_for_half_a_life_is_not_missed() {
    thread::scope(|scope| {
        scope.spawn(|| away(|mesh| mesh.kill_control_plane(), |mesh| mesh.up(&["--cert-lifetime", "60s"])));
        scope.spawn(|| {
            away(|mesh| mesh.signal_control_plane(Signal::SIGSTOP), |mesh| mesh.signal_control_plane(Signal::SIGCONT));
        });
    });
}

type Done = std::io::Result<()>;

/// 30 s of a life of 60, from the worst moment on: just before a new certificate would be asked for.
fn away(go: impl Fn(&Mesh) -> Done, come_back: impl Fn(&Mesh) -> Done) {
    let Some(mesh) = mesh("60s") else { return };
    let load = Load::start(&mesh, REQUESTS);
    let is_due = |certificate: &Value| seconds(certificate, "renewal_in_seconds") <= 1;
    let before = certificates_until(&mesh, |now| now.len() == 2 && now.values().any(is_due));
    go(&mesh).unwrap();
    let gone = Instant::now();
    let late = mesh.run(&["late", "--", "true"]).unwrap();
    assert!(!late.status.success(), "registered by nobody: {}", told(&late));
    thread::sleep((gone + Duration::from_secs(30)).saturating_duration_since(Instant::now()));
    come_back(&mesh).unwrap();
    until_renewed(&mesh, &before);
    // By now the old ones were of use. What goes well after their end is the new ones' work.
    let longest = before.values().map(|old| seconds(old, "expires_in_seconds")).max().unwrap();
    let end = gone + Duration::from_secs(2 + u64::try_from(longest).unwrap());
    thread::sleep(end.saturating_duration_since(Instant::now()));
    load.finish();
}

#[test]
fn a_control_plane_that_is_killed_again_and_again_is_not_missed() {
    let Some(mesh) = mesh(SHORT) else { return };
    let load = Load::start(&mesh, 0);
    for _ in 0..4 {
        let before = certificates_until(&mesh, |now| now.len() == 2);
        mesh.kill_control_plane().unwrap();
        mesh.up(&["--cert-lifetime", SHORT]).unwrap();
        until_renewed(&mesh, &before);
    }
    load.finish();
}

/// Puts an authority into the place of the mesh's, whose issuer is due in so long: it has lived for months.
fn age(mesh: &Mesh, due_in: Duration) -> Authority {
    let (domain, lifetimes) = (TrustDomain::default(), AuthorityLifetimes::default());
    let made = |at| Authority::generate(&domain, at, lifetimes).unwrap();
    let now = SystemTime::now();
    let life = issuer_due(made(now).issuer()).duration_since(now).unwrap();
    let aged = made(now + due_in - life);
    let pem = aged.to_pem().unwrap();
    let issuer = format!("{}{}", pem.issuer_key, pem.issuer_certificate);
    for (name, text) in [("root.crt", &pem.root_certificate), ("root.key", &pem.root_key), ("issuer.pem", &issuer)] {
        let file = mesh.home().join(".local/state/weft/authority").join(name);
        assert!(file.exists(), "{}: it keeps its owner", file.display());
        std::fs::write(file, text).unwrap();
    }
    aged
}

#[test]
fn an_issuer_is_renewed_under_load_and_stays() {
    if !can_run() {
        return;
    }
    let flags = ["--cert-lifetime", SHORT];
    let mut mesh = Mesh::start(User::all().pop().unwrap(), &[], &flags).unwrap();
    mesh.kill_control_plane().unwrap();
    let aged = age(&mesh, Duration::from_secs(15));
    mesh.up(&flags).unwrap();
    serve(&mut mesh);
    let load = Load::start(&mesh, 0);
    let deadline = Instant::now() + 2 * PATIENCE;
    let authority = loop {
        let authority = certs(&mesh)["authority"].clone();
        assert_eq!(authority["root"]["serial"], aged.root().serial.as_str());
        if authority["issuer"]["serial"] != aged.issuer().serial.as_str() {
            break authority;
        }
        assert!(Instant::now() < deadline, "{authority:#}");
    };
    assert!(authority["issuer"]["expires_in_seconds"].as_i64().unwrap() > 364 * 24 * 60 * 60, "{authority:#}");
    // The first that is signed by the new one, and the one after it.
    for _ in 0..2 {
        until_renewed(&mesh, &certificates_until(&mesh, |now| now.len() == 2));
    }
    mesh.kill_control_plane().unwrap();
    mesh.up(&flags).unwrap();
    assert_eq!(certs(&mesh)["authority"]["issuer"]["serial"], authority["issuer"]["serial"]);
    load.finish();
}

#[test]
fn one_folder_has_one_control_plane() {
    let Some(mesh) = mesh("24h") else { return };
    let refused = |flags: &[&str], reason: &str| {
        let mut second = mesh.weft();
        let second = second.arg("up").args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let second = ended(second);
        assert!(!second.status.success() && told(&second).contains(reason), "{}", told(&second));
    };
    let pid = mesh.control_plane().unwrap().to_string();
    refused(&[], &format!("process {pid}"));
    refused(&["-d"], &format!("pid {pid}"));
    assert_eq!(mesh.control_plane().unwrap().to_string(), pid);
    // Its own caller may not have left yet.
    certificates_until(&mesh, |now| now.len() == 1);

    mesh.kill_control_plane().unwrap();
    let start = || mesh.weft().args(["up", "-d"]).output().unwrap();
    let starts = thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
    });
    let said: String = starts.iter().map(told).collect();
    assert_eq!(starts.iter().filter(|start| start.status.success()).count(), 1, "{said}");
    assert!(said.contains(&format!("(pid {})", mesh.control_plane().unwrap())), "{said}");
}

/// What a program says that is to end by itself.
fn ended(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it went on: {}", told(&child.wait_with_output().unwrap()));
        }
        thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

#[test]
fn keys_are_private_and_whole() {
    let Some(mesh) = mesh("24h") else { return };
    let state = mesh.home().join(".local/state/weft");
    let mut kept = Vec::new();
    for folder in [state.join("authority"), state.clone()] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        // What is just being written ends in `new`, and gets its name when it is whole.
        kept.extend(files.filter(|file| !file.is_dir() && file.extension().is_none_or(|extension| extension != "new")));
    }
    for file in &kept {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert!(kept.iter().any(|file| file.ends_with("authority/root.key")), "{kept:?}");
    let secret = |file: &Path| std::fs::read_to_string(file).is_ok_and(|text| text.contains("PRIVATE KEY"));
    let secrets = kept.iter().filter(|file| secret(file)).count();
    assert_eq!(secrets, 2, "the root's and the issuer's keys, no leaf's: {kept:?}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
