//! What the commands that read tell of a real mesh, and what Prometheus gets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run};

const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web-policy}
spec:
  selector: {matchLabels: {app: web}}
  rules:
    - from: [{source: {principals: ["cluster.local/ns/default/sa/caller"]}}]
"#;
const CALLER: &str = "spiffe://cluster.local/ns/default/sa/caller";
const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
const PAGE: &str = "http://web:8080/";

/// A mesh in which `caller` was answered by `web`, and `stranger` denied once.
fn mesh(user: User) -> Mesh {
    let mut mesh = Mesh::start(user, &[("policies.yaml", POLICY)], &["--metrics-address", "127.0.0.1:0"]).unwrap();
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080", "--bind", "::"]).unwrap();
    let call = ["caller", "--", "curl", "-sSf", "-o", "/dev/null"];
    mesh.run_until(&[&call[..], &[PAGE]].concat(), |output| output.status.success()).unwrap();
    // Nobody has these orders: that is no failure of the service.
    let orders = mesh.run(&["caller", "--", "curl", "-sS", "-o", "/dev/null", "http://web:8080/orders/[1-2]"]).unwrap();
    assert!(orders.status.success(), "{}", told(&orders));
    let stranger = mesh.run(&["stranger", "--", "curl", "-sSf", PAGE]).unwrap();
    assert!(!stranger.status.success(), "{}", told(&stranger));
    mesh
}

fn users() -> Vec<User> {
    if can_run() { User::all() } else { Vec::new() }
}

fn weft(mesh: &Mesh, line: &str) -> Output {
    mesh.weft().args(line.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

fn json(mesh: &Mesh, line: &str) -> Value {
    let output = weft(mesh, &format!("{line} -o json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told(&output)))
}

/// The JSON of a command, once it is as it should be.
fn json_until(mesh: &Mesh, line: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = json(mesh, line);
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{line}: {found:#}");
    }
}

#[test]
fn services_and_edges_tell_what_happened() {
    for user in users() {
        let mesh = mesh(user);
        // Proxies count a call when it has ended, which its caller may see a moment before.
        let requests_of = |stat: &Value, name: &str| {
            let routes = stat["services"][0]["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
            routes.iter().find(|route| route["route"] == name).and_then(|route| route["requests"].as_u64())
        };
        let stat = json_until(&mesh, "stat web --window 10m", |stat| {
            requests_of(stat, "GET /orders/{id}") == Some(2) && stat["services"][0]["denied"] == 1
        });
        let web = &stat["services"][0];
        assert_eq!(web["host"], "web.default.svc.cluster.local", "{stat:#}");
        assert_eq!((web["mtls_share"].as_f64(), web["denied"].as_u64()), (Some(1.0), Some(1)), "{stat:#}");
        assert!(web["bytes"]["sent"].as_u64() > Some(100), "{stat:#}");
        for (line, list) in [("stat", "services"), ("edges", "edges")] {
            let of = |namespace: &str| json(&mesh, &format!("{line} -n {namespace} --window 10m"))[list].clone();
            assert!(of("default").as_array().is_some_and(|all| !all.is_empty()), "{line} -n default");
            assert_eq!(of("other"), Value::Array(Vec::new()), "{line} -n other");
        }
        let route = |name: &str| {
            let routes = web["routes"].as_array().unwrap();
            routes.iter().find(|route| route["route"] == name).unwrap_or_else(|| panic!("no {name}: {stat:#}"))
        };
        let orders = route("GET /orders/{id}");
        assert_eq!((orders["requests"].as_u64(), orders["success_rate"].as_f64()), (Some(2), Some(1.0)), "{stat:#}");
        let [p50, p99] = ["p50", "p99"].map(|share| orders["latency_ms"][share].as_f64().unwrap());
        assert!(p50 > 0.0 && p50 <= p99, "{stat:#}");
        assert_eq!(route("GET /")["denied"], 1);

        let edges = json(&mesh, "edges --window 10m");
        let to_web: Vec<&Value> =
            edges["edges"].as_array().unwrap().iter().filter(|e| e["destination"]["app"] == "web").collect();
        let sources: Vec<_> = to_web.iter().map(|edge| edge["source"]["identity"].as_str().unwrap()).collect();
        assert_eq!(sources, [CALLER, "spiffe://cluster.local/ns/default/sa/stranger"], "{edges:#}");
        for edge in &to_web {
            assert_eq!((&edge["security"], &edge["destination"]["identity"]), (&"mutual_tls".into(), &WEB.into()));
        }
        assert_eq!((to_web[0]["denied"].as_u64(), to_web[1]["denied"].as_u64()), (Some(0), Some(1)));

        let table = weft(&mesh, "viz stat");
        let text = String::from_utf8(table.stdout).unwrap();
        assert!(text.starts_with("SERVICE") && text.contains("default/web"), "{text}");
        assert_eq!(weft(&mesh, "viz edges").status.code(), Some(0));
    }
}

#[test]
fn calls_are_watched_as_they_end() {
    for user in users() {
        let mesh = mesh(user);
        let mut tap = mesh.weft();
        tap.args([
            "tap",
            "web",
            "--identity",
            CALLER,
            "--status",
            "2xx",
            "--method",
            "get",
            "--count",
            "1",
            "-o",
            "json",
        ]);
        tap.stdout(Stdio::piped());
        let mut tap = tap.spawn().unwrap();
        // Whenever the watch begins, one of these calls falls into it.
        let mut line = String::new();
        while tap.try_wait().unwrap().is_none() {
            assert!(mesh.run(&["caller", "--", "curl", "-sSf", PAGE]).unwrap().status.success());
        }
        BufReader::new(tap.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(tap.wait().unwrap().success());
        let call: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&call["method"], &call["path"], &call["status"]),
            (&"GET".into(), &"/".into(), &200.into()),
            "{call:#}"
        );
        assert_eq!(call["source"]["identity"], CALLER, "{call:#}");
        assert_eq!(
            (&call["service"], &call["flag"]),
            (&"web.default.svc.cluster.local".into(), &"-".into()),
            "{call:#}"
        );
    }
}

#[test]
fn calls_that_last_are_watched_while_they_are_open() {
    for user in users() {
        let mut mesh = mesh(user);
        let silent =
            "import socket; l = socket.create_server(('', 8080)); open = []\nwhile True: open.append(l.accept())";
        mesh.start_workload(&["silent", "--", "python3", "-c", silent]).unwrap();
        let reach = "import socket; socket.create_connection(('silent', 8080))";
        mesh.run_until(&["caller", "--", "python3", "-c", reach], |output| output.status.success()).unwrap();
        let mut tap = mesh.weft();
        tap.args(["tap", "--identity", CALLER, "-o", "json"]).stdout(Stdio::piped());
        let mut tap = tap.spawn().unwrap();
        let lines = BufReader::new(tap.stdout.take().unwrap()).lines();
        let mut calls = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        // Once a call is seen, the watch has begun.
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !begun.load(Ordering::Relaxed) {
                    assert!(mesh.run(&["caller", "--", "curl", "-sSf", PAGE]).unwrap().status.success());
                }
            });
            calls.next().unwrap();
            begun.store(true, Ordering::Relaxed);
        });
        let speak = "import socket; s = socket.create_connection(('silent', 8080)); s.send(b'\\0'); s.recv(1)";
        for (program, protocol, path) in [
            (["curl", "-s", "http://silent:8080/wait"].as_slice(), "http", Value::from("/wait")),
            (&["python3", "-c", speak], "tcp", Value::Null),
        ] {
            mesh.start_workload(&[&["caller", "--"], program].concat()).unwrap();
            let open = |call: &Value| call["open"] == true && call["protocol"] == protocol && call["path"] == path;
            let found = calls.by_ref().find(open).unwrap();
            assert_eq!((&found["status"], &found["why"]), (&Value::Null, &Value::Null), "{found:#}");
            assert!(found["duration_ms"].as_f64().unwrap() > 0.0, "{found:#}");
        }
        tap.kill().unwrap();
        tap.wait().unwrap();
    }
}

#[test]
fn certificates_are_those_in_use() {
    for user in users() {
        let mesh = mesh(user);
        // Those who called may not have left yet.
        let certs = json_until(&mesh, "certs", |certs| {
            certs["workloads"].as_array().is_some_and(|all| all.len() == 1 && !all[0]["certificate"].is_null())
        });
        let leaf = &certs["workloads"][0]["certificate"];
        assert_eq!(leaf["identity"], WEB);
        let left = leaf["expires_in_seconds"].as_i64().unwrap();
        assert!((80_000..=86_400).contains(&left), "{certs:#}");
        assert!(
            certs["authority"]["root"]["expires_in_seconds"].as_i64()
                > certs["authority"]["issuer"]["expires_in_seconds"].as_i64()
        );
        assert!(String::from_utf8(weft(&mesh, "certs").stdout).unwrap().contains(leaf["serial"].as_str().unwrap()));
    }
}

#[test]
fn a_check_says_what_to_do() {
    for user in users() {
        let mesh = mesh(user);
        let fine = weft(&mesh, "check --wait");
        assert!(fine.status.success(), "{}", told(&fine));
        let text = String::from_utf8(fine.stdout).unwrap();
        assert!(text.contains("default/web-") && text.contains("0 fail"), "{text}");

        mesh.write("broken.yaml", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x}\nspec: {mtls: {mode: SOMETIMES}}\n").unwrap();
        let status = |report: &Value, name: &str| {
            let checks = report["checks"].as_array().unwrap();
            checks.iter().find(|check| check["name"] == name).map(|check| check["status"].as_str().unwrap().to_owned())
        };
        let warned = json_until(&mesh, "check", |report| status(report, "manifests").as_deref() == Some("warn"));
        assert_eq!(warned["ok"], true, "a file's problem is no failure: {warned:#}");
        assert!(warned.to_string().contains("broken.yaml:4"), "{warned:#}");

        let key = mesh.home().join(".local/state/weft/authority/root.key");
        assert!(Command::new("chmod").arg("644").arg(&key).status().unwrap().success());
        let failed = weft(&mesh, "check");
        assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
        assert!(told(&failed).contains(&format!("chmod 600 {}", key.display())), "{}", told(&failed));
        assert!(Command::new("chmod").arg("600").arg(&key).status().unwrap().success());

        assert!(weft(&mesh, "down").status.success());
        let down = weft(&mesh, "check");
        assert_eq!(down.status.code(), Some(1));
        assert!(told(&down).contains("weft up"), "{}", told(&down));
        assert_eq!(weft(&mesh, "check --wait=1ms").status.code(), Some(1));
        for command in ["stat", "edges", "tap", "certs"] {
            let refused = weft(&mesh, command);
            assert_eq!(refused.status.code(), Some(1), "{command}");
            assert!(told(&refused).contains("hint: start one with: weft up"), "{}", told(&refused));
        }
    }
}

#[test]
fn prometheus_gets_the_whole_mesh_from_one_page() {
    for user in users() {
        let mesh = mesh(user);
        let check = json(&mesh, "check");
        let of_metrics = check["checks"].as_array().unwrap().iter().find(|check| check["name"] == "metrics").unwrap();
        let url = of_metrics["detail"].as_str().unwrap();
        let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
        // The caller's own proxy told its last when it ended, which may be after its launcher did.
        let deadline = Instant::now() + PATIENCE;
        let is_last = |line: &str| line.contains("reporter=\"source\"") && line.contains("source_app=\"caller\"");
        let page = loop {
            let page = scrape(address);
            if page.lines().any(is_last) {
                break page;
            }
            assert!(Instant::now() < deadline, "{page}");
        };
        let caller = format!("source_principal=\"{CALLER}\"");
        let told_of = |name: &str| {
            page.lines().any(|l| l.starts_with(name) && l.contains(&caller) && l.contains("destination_app=\"web\""))
        };
        assert!(told_of("istio_requests_total{") && told_of("istio_request_duration_milliseconds_bucket{"), "{page}");
        assert!(told_of("istio_request_bytes_bucket{") && told_of("istio_response_bytes_sum{"), "{page}");
        assert!(page.contains("connection_security_policy=\"mutual_tls\""), "{page}");
        assert!(
            page.lines().any(|l| l.starts_with("weft_denied_total{workload=\"web-") && l.ends_with(" 1")),
            "{page}"
        );
    }
}

#[test]
fn a_control_plane_that_died_is_told_again() {
    for user in users() {
        let mesh = mesh(user);
        mesh.kill_control_plane().unwrap();
        mesh.up(&["--metrics-address", "none"]).unwrap();
        let fine = weft(&mesh, "check --wait");
        assert!(fine.status.success(), "{}", told(&fine));
        json_until(&mesh, "check", |report| report.to_string().contains("connected"));
        assert!(mesh.run(&["caller", "--", "curl", "-sSf", PAGE]).unwrap().status.success());
        let calls = |stat: &Value| {
            let web = &stat["services"][0];
            web["requests"].as_u64().unwrap() + web["tcp"]["opened"].as_u64().unwrap()
        };
        let stat = json_until(&mesh, "stat web", |stat| calls(stat) > 0);
        assert_eq!(calls(&stat), 1, "what was counted before is no part of a rate: {stat:#}");
    }
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}
