//! Commands that look at a mesh or write manifests for it, as an ordinary user types them.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;

const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE} # the shop's front
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: localhost/weft-test/tools:1
        command: [python3, -m, http.server, "8080"]
        env: [{name: CARD_KEY, value: PLANTED-in-the-environment}]
        readinessProbe:
          httpGet: {port: 8080}   # asked by the proxy
          periodSeconds: 1
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle, namespace: NAMESPACE}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec: {containers: [{name: idle, image: "localhost/weft-test/tools:1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: NAMESPACE}
spec:
  schedule: "0 3 1 1 *"
  jobTemplate:
    spec:
      template:
        metadata: {annotations: {linkerd.io/inject: disabled}}
        spec: {restartPolicy: Never, containers: [{name: once, image: "localhost/weft-test/tools:1"}]}
"#;

/// What failed probes print stands in events.
const PROBED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: probed, namespace: NAMESPACE, annotations: {linkerd.io/inject: disabled}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: probed
    image: localhost/weft-test/tools:1
    command: [sleep, infinity]
    readinessProbe: {exec: {command: [sh, -c, "echo PLANTED-in-a-probe; exit 1"]}, periodSeconds: 1}
"#;

#[test]
fn a_sidecar_in_the_manifest_is_a_proxy_in_the_mesh_and_comes_out_again() {
    let Some(mesh) = Meshed::shared() else { return };
    let app = mesh.cluster.namespace("manual");
    let (folder, name) = (TempDir::new().unwrap(), app.name());
    let file = folder.path().join("app.yaml");
    let text = APP.replace("NAMESPACE", name);
    fs::write(&file, &text).unwrap();
    let file = file.display();
    assert_eq!(mesh.shell(&format!("weft inject --manual {file} | weft uninject -")), text);

    mesh.shell(&format!("weft inject --manual {file} | kubectl apply -f -"));
    app.rolled_out("deployment/web");
    mesh.shell(&format!("weft check --proxy -n {name} --wait=120s"));
    let stat = mesh.shell(&format!("weft stat deploy -n {name}"));
    let row =
        |start: &str| stat.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!((row("web"), row("idle")), ("1/1", "0/0"), "{stat}");
    let pods = mesh.shell(&format!("weft stat pods -n {name}"));
    assert!(pods.lines().any(|line| line.starts_with("web-") && line.contains("  Running  ")), "{pods}");
    let cron = mesh.shell(&format!("weft stat cronjob -n {name} -o json"));
    assert!(cron.contains("\"name\": \"nightly\""), "{cron}");
    let namespaces = mesh.shell("weft stat ns");
    let own: Vec<_> = namespaces.lines().filter(|line| line.split_whitespace().next() == Some(name)).collect();
    assert!(own.len() == 1 && own[0].contains(" 1/1 "), "{namespaces}");
    assert!(!mesh.typed(&format!("weft stat deploy/nobody -n {name}")).status.success());

    mesh.shell(&format!("kubectl get deploy web -n {name} -o yaml | weft uninject - | kubectl apply -f -"));
    app.rolled_out("deployment/web");
    let containers = app.run(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.initContainers}"]);
    assert_eq!(containers, "");
    let probe = app.run(&["get", "deploy", "web", "-o", "jsonpath={..readinessProbe.httpGet.port}"]);
    assert_eq!(probe, "8080");
}

#[test]
fn a_bug_report_holds_what_helps_and_no_secret() {
    let Some(mesh) = Meshed::shared() else { return };
    let app = mesh.cluster.namespace("report");
    app.apply(APP);
    app.apply(PROBED);
    app.run(&["create", "secret", "generic", "card", "--from-literal=key=PLANTED-in-a-secret"]);
    mesh.shell(&format!("kubectl annotate namespace {} linkerd.io/inject=enabled", app.name()));
    app.run(&["rollout", "restart", "deploy/web"]);
    app.rolled_out("deployment/web");
    mesh.shell_until(&format!("kubectl get events -n {}", app.name()), |events| {
        String::from_utf8_lossy(&events.stdout).contains("PLANTED-in-a-probe")
    });
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("report.tar.gz");
    mesh.shell(&format!("weft bug-report -n {} -o {}", app.name(), path.display()));
    let unpacked = Command::new("tar").arg("xzf").arg(&path).arg("-C").arg(folder.path()).output().unwrap();
    assert!(unpacked.status.success(), "{}", told(&unpacked));
    fs::remove_file(&path).unwrap();

    let find = |line: &str| mesh.typed(&format!("cd {} && {line}", folder.path().display()));
    let text = |line: &str| String::from_utf8(find(line).stdout).unwrap();
    // Each part was read, and read rightly.
    assert!(text("cat */weft/*.metrics.txt").contains("weft_injection_responses_total"));
    assert!(text("cat */proxies.txt").contains(&format!("{}/web-", app.name())));
    assert!(text("cat */check.json").contains("\"success\": "));
    assert!(text("cat */analyze.yaml").contains("IST0"));
    assert!(text("cat */weft/logs/*.controller.log").contains("INFO"));
    let proxy_log = text(&format!("ls */{}/logs", app.name()));
    assert!(proxy_log.contains(".weft-proxy.log"), "{proxy_log}");
    assert!(text(&format!("cat */{}/pods.json", app.name())).contains("CARD_KEY"));

    let mut secrets: Vec<String> = vec!["PLANTED".to_owned(), "PRIVATE KEY".to_owned(), "eyJhbGciOi".to_owned()];
    for (name, entry) in [("weft-root", "ca.key"), ("weft-issuer", "tls.key"), ("weft-webhook", "tls.key")] {
        let template = format!("{{{{index .data \"{entry}\"}}}}");
        let key = mesh.shell(&format!("kubectl get secret {name} -n weft -o go-template='{template}'"));
        assert!(key.len() > 40, "{name}: {key}");
        secrets.push(key.clone());
        secrets.extend(
            mesh.shell(&format!("echo {key} | base64 -d")).lines().filter(|line| line.len() > 40).map(str::to_owned),
        );
    }
    for secret in secrets {
        let found = find(&format!("grep -rlF -e '{secret}' ."));
        assert_eq!(found.status.code(), Some(1), "{}", told(&found));
    }
}

/// A policy that comes while nobody can refuse it.
#[test]
fn what_the_controller_does_not_understand_fails_the_check() {
    let Some(mesh) = Meshed::alone() else { return };
    let app = mesh.cluster.namespace("broken");
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=0");
    mesh.shell("kubectl wait -n weft --for=delete pod -l weft.io/component=controller --timeout=120s");
    app.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: web, namespace: NAMESPACE}\n\
         spec: {action: ALOW}\n",
    );
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=1");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    let checked = mesh.shell_until("weft check", |output| {
        String::from_utf8_lossy(&output.stdout).contains("× control plane is content with AuthorizationPolicy")
    });
    let said = format!("AuthorizationPolicy {}/web", app.name());
    let mut lines = checked.lines().skip_while(|line| !line.contains(&said));
    assert!(lines.nth(1).unwrap().contains("ALOW"), "{checked}");
    assert!(lines.next().unwrap().starts_with("    hint: mend it"), "{checked}");
    assert!(checked.ends_with("Status check results are ×\n"), "{checked}");
    // The API server changes it before it goes: what stands in it already isn't refused again.
    app.run(&["delete", "authorizationpolicy", "web", "--cascade=foreground", "--timeout=60s"]);
    mesh.shell("weft check --wait=120s");
}
