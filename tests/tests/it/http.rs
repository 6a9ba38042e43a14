//! Unmodified HTTP programs in a mesh, and what policy does to them.

use weft_tests::mesh::{Mesh, STRICT, told as said};
use weft_tests::{User, can_run};

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web-policy}
spec:
  selector: {matchLabels: {app: web}}
  rules:
    - from: [{source: {principals: ["cluster.local/ns/default/sa/caller"]}}]
      to: [{operation: {methods: [GET, HEAD], paths: ["/public*"]}}]
"#;
const STATUS: &str = "%{http_code} %header{weft-error}";

fn mesh(user: User) -> Mesh {
    let mut mesh = Mesh::start(user, &[STRICT, ("policies.yaml", POLICIES)], &[]).unwrap();
    for name in ["public", "secret"] {
        let folder = mesh.home().join("site").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("page"), name.repeat(1000)).unwrap();
    }
    let site = mesh.home().join("site");
    let site = site.to_str().unwrap();
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080", "--directory", site]).unwrap();
    let first = ["caller", "--", "curl", "-sSf", "http://web:8080/public/page"];
    mesh.run_until(&first, |output| output.status.success()).unwrap();
    mesh
}

fn users() -> Vec<User> {
    if can_run() { User::all() } else { Vec::new() }
}

fn curl(mesh: &Mesh, caller: &str, arguments: &[&str]) -> String {
    let all = [&[caller, "--", "curl", "-sS", "-m", "30", "-w", STATUS], arguments].concat();
    let output = mesh.run(&all).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn requests_are_judged_one_by_one() {
    for user in users() {
        let mesh = mesh(user);
        let page = "http://web:8080/public/page";
        assert_eq!(curl(&mesh, "caller", &[page]), format!("{}200 ", "public".repeat(1000)));
        assert_eq!(curl(&mesh, "caller", &["-I", "-o", "/dev/null", page]), "200 ");
        let denied = "RBAC: access denied403 policy";
        assert_eq!(curl(&mesh, "stranger", &[page]), denied);
        assert_eq!(curl(&mesh, "caller", &["-X", "POST", "-d", "x", page]), denied);
        for path in ["/secret/page", "/public/../secret/page", "/public/%2e%2e/secret/page", "/%73ecret/page"] {
            let url = format!("http://web:8080{path}");
            assert_eq!(curl(&mesh, "caller", &["--path-as-is", &url]), denied, "{path}");
        }
        // One connection, four requests, four verdicts.
        let secret = "http://web:8080/secret/page";
        let mixed =
            curl(&mesh, "caller", &["-o", "/dev/null", page, "-o", "/dev/null", secret, "-o", "/dev/null", page]);
        assert_eq!(mixed, "200 403 policy200 ");
        assert!(mesh.proxy_logs().contains("web-policy"), "{}", mesh.proxy_logs());
    }
}

#[test]
fn a_name_is_found_in_every_form() {
    for user in users() {
        let mesh = mesh(user);
        for host in ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"] {
            let url = format!("http://{host}:8080/public/page");
            assert_eq!(curl(&mesh, "caller", &["-o", "/dev/null", &url]), "200 ", "{host}");
        }
        let other = mesh.run(&["caller", "-n", "shop", "--", "curl", "-sS", "http://web:8080/"]).unwrap();
        assert_eq!(other.status.code(), Some(6), "{}", said(&other));
    }
}

#[test]
fn a_refused_call_can_be_asked_about_by_its_id() {
    for user in users() {
        let mesh = mesh(user);
        let arguments = ["-o", "/dev/null", "-w", "%header{x-request-id}", "http://web:8080/secret/page"];
        let output = mesh.run(&[&["stranger", "--", "curl", "-sS"], &arguments[..]].concat()).unwrap();
        let id = String::from_utf8(output.stdout).unwrap();
        // Logs are written a moment after the answer.
        let both =
            |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).matches(" 403 ").count() == 2;
        let told = mesh.weft_until(&["why", &id], both).unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.starts_with("GET web:8080/secret/page\n"), "{told}");
        let conclusion = told.trim_end().lines().next_back().unwrap();
        assert!(conclusion.starts_with("the proxy of default/web-"), "{told}");
        assert!(
            conclusion.contains(" refused it: denied: ") && conclusion.contains("web-policy at policies.yaml:"),
            "{told}"
        );
        let json = mesh.weft().args(["why", &id, "-o", "json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["conclusion"], conclusion);
        assert_eq!(json["calls"].as_array().unwrap().len(), 2);

        let nobodys = mesh.weft().args(["why", "no-such-id"]).output().unwrap();
        assert!(!nobodys.status.success() && said(&nobodys).contains("no-such-id"));
    }
}
