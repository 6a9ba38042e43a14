//! What dies without a word, under load: a proxy, and the controller while pods are made.

use weft_tests::cluster::Namespace;
use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;
use weft_tests::process::Process;

use crate::serving::{Load, served};

/// How often each container of a pod was started again, by its name.
fn restarts(namespace: &Namespace<'_>, pod: &str) -> Vec<(String, u32)> {
    let ask = "jsonpath={range .status.initContainerStatuses[*]}{.name}={.restartCount} {end}\
               {range .status.containerStatuses[*]}{.name}={.restartCount} {end}";
    let told = namespace.run(&["get", "pod", pod, "-o", ask]);
    let pairs = told.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

/// Kills a pod's proxy and waits until another serves in its place; no other container was touched.
fn kill_proxy(mesh: &Meshed, namespace: &Namespace<'_>, pod: &str) {
    Process::of(&mesh.cluster, (namespace.name(), pod), "weft-proxy").kill();
    let again = "jsonpath={.status.initContainerStatuses[?(@.name==\"weft-proxy\")].restartCount}=1";
    namespace.wait(&format!("pod/{pod}"), again);
    namespace
        .wait(&format!("pod/{pod}"), "jsonpath={.status.initContainerStatuses[?(@.name==\"weft-proxy\")].ready}=true");
    namespace.wait(&format!("pod/{pod}"), "condition=Ready");
    let others: Vec<_> = restarts(namespace, pod).into_iter().filter(|(name, _)| name != "weft-proxy").collect();
    assert!(others.iter().all(|(_, count)| *count == 0), "the program goes on: {others:?}");
}

#[test]
fn a_callees_proxy_that_is_killed_loses_only_what_was_under_way() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = served(&mesh, "killed");
    let pods = namespace.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"]);
    let load = Load::start(&mesh, &namespace);
    for pod in pods.split(' ') {
        kill_proxy(&mesh, &namespace, pod);
    }
    let reports = load.reports();
    // At each of two deaths, one request of each kind of HTTP/1.1, and of gRPC what was begun within half a
    // second: its calls don't wait for each other.
    let [http, grpc] = reports.each_ref().map(|report| report["failed"].as_u64().unwrap());
    assert!(http <= 4 && grpc <= 20, "{reports:#?}");
}

#[test]
fn a_callers_proxy_that_is_killed_is_there_again_and_its_program_unharmed() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = served(&mesh, "caller");
    let load = Load::start(&mesh, &namespace);
    kill_proxy(&mesh, &namespace, "load");
    let before = namespace.exec("load -c http", &["curl", "-sS", "-m", "30", "http://web:8080/again"]);
    assert_eq!(String::from_utf8_lossy(&before.stdout), "/again", "{}", told(&before));
    let reports = load.reports();
    assert!(reports.iter().any(|report| report["failed"] != 0), "nobody noticed: was it killed? {reports:#?}");
}

const BURST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: burst, namespace: NAMESPACE}
spec:
  replicas: 12
  selector: {matchLabels: {app: burst}}
  template:
    metadata: {labels: {app: burst}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: shell, image: "localhost/weft-test/tools:1", command: [sleep, infinity]}]
"#;

#[test]
fn no_pod_starts_unmeshed_while_the_controller_is_killed() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = mesh.cluster.namespace("burst");
    namespace.run(&["annotate", "namespace", namespace.name(), "linkerd.io/inject=enabled"]);
    mesh.shell_until("kubectl get mutatingwebhookconfiguration weft-injector -o yaml", |output| {
        String::from_utf8_lossy(&output.stdout).contains(namespace.name())
    });
    let controller =
        mesh.shell("kubectl get pod -n weft -l weft.io/component=controller -o jsonpath={.items[0].metadata.name}");
    let controller = Process::of(&mesh.cluster, ("weft", &controller), "weft");
    namespace.apply(BURST);
    // Some are made by the one that dies, others wait for the one that is started in its place.
    let made = format!("kubectl get pods -n {} -o name", namespace.name());
    mesh.shell_until(&made, |output| !output.stdout.is_empty());
    controller.kill();
    namespace.run(&["scale", "deployment/burst", "--replicas=16"]);
    namespace.rolled_out("deployment/burst");
    let pods =
        namespace.run(&["get", "pods", "-o", "jsonpath={range .items[*]}{.spec.initContainers[*].name}{\"\\n\"}{end}"]);
    let pods: Vec<&str> = pods.lines().collect();
    assert_eq!(pods, ["weft-init weft-proxy"; 16]);
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
}
