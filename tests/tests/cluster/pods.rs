//! What people and machines do with a meshed pod: probes, scrapes, exec, port-forward, debug.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use weft_tests::meshed::Meshed;
use weft_tests::process::Process;
use weft_tests::shell::Shell;

const STRICT_POD: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: NAMESPACE}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: NAMESPACE
  labels: {app: web, sidecar.istio.io/inject: "true"}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080", prometheus.io/path: /figures}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/weft-test/tools:1
    command: [sh, -c, "mkdir /tmp/w; cd /tmp/w; echo 'own_series 7' > figures; echo page > page; exec python3 -m http.server 8080"]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {httpGet: {port: http, path: /page}, periodSeconds: 1, failureThreshold: 120}
    livenessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    readinessProbe: {httpGet: {port: 8080, path: /page}, periodSeconds: 1}
  - name: health
    image: localhost/weft-test/tools:1
    command: [grpc, serve, "9000"]
    readinessProbe: {grpc: {port: 9000}, periodSeconds: 1}
"#;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn probes_scrapes_exec_port_forward_and_debug_work_under_strict() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("strict");
    namespace.apply(STRICT_POD);
    namespace.apply(&Shell::outside("outside").manifest());
    namespace.wait("pod/web", "condition=Ready");
    namespace.wait("pod/outside", "condition=Ready");
    let address = namespace.run(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]);

    // A probe that fails is told: the readiness is the program's own.
    namespace.exec("web -c web", &["mv", "/tmp/w/page", "/tmp/w/gone"]);
    namespace.wait("pod/web", "condition=Ready=false");
    namespace.exec("web -c web", &["mv", "/tmp/w/gone", "/tmp/w/page"]);
    namespace.wait("pod/web", "condition=Ready");

    let plain = namespace.exec("outside", &["curl", "-sS", "-m", "30", &format!("http://{address}:8080/page")]);
    assert!(!plain.status.success(), "STRICT refuses a plain caller: {}", said(&plain));
    let scraped = namespace.exec("outside", &["curl", "-sS", "-m", "30", &format!("http://{address}:15020/metrics")]);
    let scraped = said(&scraped);
    assert!(scraped.contains("own_series 7") && scraped.contains("weft_"), "{scraped}");
    let marks = namespace.run(&["get", "pod", "web", "-o", "jsonpath={.metadata.annotations.prometheus\\.io/port}"]);
    assert_eq!(marks, "15020");

    let inside = namespace.exec("web -c health", &["curl", "-sS", "-m", "30", "http://localhost:8080/page"]);
    assert_eq!(said(&inside), "page\n");
    let own = namespace.exec("web -c health", &["curl", "-sS", "-m", "30", &format!("http://{address}:8080/page")]);
    assert_eq!(said(&own), "page\n", "a pod reaches itself by its own address");

    let mut forward =
        namespace.kubectl().args(["port-forward", "pod/web", ":8080"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut told = BufReader::new(forward.stdout.take().unwrap());
    told.read_line(&mut line).unwrap();
    let local = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let forwarded = mesh.typed(&format!("curl -sS -m 30 http://{local}/page"));
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert_eq!(said(&forwarded), "page\n", "{line}");

    let debug = ["debug", "web", "-q", "--image=localhost/weft-test/tools:1", "--profile=general", "-c", "look", "--"];
    namespace
        .run(&[&debug[..], &["curl", "-sS", "-m", "30", "-o", "/dev/null", "http://localhost:8080/page"]].concat());
    let ended = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0";
    namespace.wait("pod/web", ended);
}

#[test]
fn an_injected_proxy_at_rest_is_small() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("small");
    namespace.apply(STRICT_POD);
    namespace.wait("pod/web", "condition=Ready");
    let kib = Process::of(&mesh.cluster, (namespace.name(), "web"), "weft-proxy").kib("RssAnon");
    // What is its own. The pages of its binary depend on the build: docs/performance.md.
    assert!((100..4_000).contains(&kib), "{kib} KiB");
}
