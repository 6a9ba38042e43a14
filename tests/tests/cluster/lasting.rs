//! What goes on under load while something ends or starts again: rolling restarts, the controller, a
//! proxy, the API server.

use std::time::Duration;

use serde_json::Value;
use weft_tests::cluster::Namespace;
use weft_tests::meshed::{LOAD, Meshed, SERVER};

const SERVED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {linkerd.io/inject: enabled}}
    spec:
      terminationGracePeriodSeconds: 30
      volumes: [{name: programs, configMap: {name: programs}}]
      containers:
      - name: web
        image: localhost/weft-test/tools:1
        command: [python3, /programs/server.py]
        volumeMounts: [{name: programs, mountPath: /programs}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "3"]}}}
      - name: grpc
        image: localhost/weft-test/tools:1
        command: [grpc, serve, "7000"]
        readinessProbe: {grpc: {port: 7000}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "3"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: pages, port: 8080}, {name: lines, port: 9000}, {name: calls, port: 7000}]
"#;

/// Asks until there is a file `/tmp/end` in it, then says what became of the requests. Its streams
/// must not pass by the API server, which a test may stop, and it needs no DNS, which a lapse of all
/// nodes stops for a moment.
const ASKING: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: load, namespace: NAMESPACE, labels: {sidecar.istio.io/inject: "true"}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  hostAliases: [{ip: ADDRESS, hostnames: [web]}]
  volumes: [{name: programs, configMap: {name: programs}}]
  containers:
  - name: http
    image: localhost/weft-test/tools:1
    command: [sh, -c, "until [ -e /tmp/end ]; do sleep 0.2; done | python3 /programs/load.py 1 20 'kept HTTP' 'new HTTP'"]
    volumeMounts: [{name: programs, mountPath: /programs}]
  - name: grpc
    image: localhost/weft-test/tools:1
    command: [sh, -c, "until [ -e /tmp/end ]; do sleep 0.2; done | grpc load web:7000 20"]
"#;

/// A served application.
fn served<'a>(mesh: &'a Meshed, name: &str) -> Namespace<'a> {
    let namespace = mesh.cluster.namespace(name);
    let file = |name: &str, text: &str| format!("--from-literal={name}={text}");
    namespace.run(&["create", "configmap", "programs", &file("server.py", SERVER), &file("load.py", LOAD)]);
    namespace.apply(SERVED);
    namespace.rolled_out("deployment/web");
    namespace
}

/// Requests of HTTP/1.1, on a kept and on new connections, and of gRPC, that go on until
/// [`Load::finish`].
struct Load<'a>(&'a Meshed, &'a Namespace<'a>);

impl<'a> Load<'a> {
    fn start(mesh: &'a Meshed, namespace: &'a Namespace<'a>) -> Self {
        let address = namespace.run(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
        namespace.apply(&ASKING.replace("ADDRESS", &address));
        namespace.wait("pod/load", "condition=Ready");
        let log = format!("kubectl logs -n {} load -c http", namespace.name());
        mesh.shell_until(&log, |output| output.stdout == b"started\n");
        Self(mesh, namespace)
    }

    /// Ends it. Panics when a request was lost.
    fn finish(self) {
        let Self(mesh, namespace) = self;
        for container in ["http", "grpc"] {
            let end = format!("kubectl exec -n {} load -c {container} -- touch /tmp/end", namespace.name());
            mesh.shell_until(&end, |output| output.status.success());
        }
        namespace.wait("pod/load", "jsonpath={.status.phase}=Succeeded");
        for container in ["http", "grpc"] {
            let log = namespace.run(&["logs", "load", "-c", container]);
            let report: Value = serde_json::from_str(log.lines().last().unwrap_or_default())
                .unwrap_or_else(|error| panic!("{container}: {error}: {log}"));
            let kinds = report["answered"]
                .as_object()
                .map(|kinds| kinds.values().collect())
                .unwrap_or(vec![&report["answered"]]);
            let is_answered = kinds.iter().all(|count| count.as_u64().is_some_and(|count| count > 0));
            assert!(is_answered && report["failed"] == 0, "{container}: {report:#}");
        }
    }
}

#[test]
fn a_rolling_restart_at_load_loses_no_request() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = served(&mesh, "rolling");
    let load = Load::start(&mesh, &namespace);
    namespace.run(&["rollout", "restart", "deployment/web"]);
    namespace.rolled_out("deployment/web");
    // The old pods go on for some seconds.
    let pods = format!("kubectl get pods -n {} -l app=web -o name", namespace.name());
    mesh.shell_until(&pods, |output| String::from_utf8_lossy(&output.stdout).lines().count() == 2);
    load.finish();
}

#[test]
fn nothing_is_lost_while_the_controller_starts_again() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = served(&mesh, "controller");
    let load = Load::start(&mesh, &namespace);
    mesh.shell("kubectl delete pod -n weft -l weft.io/component=controller --now");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    // Endpoints that change afterwards are known again.
    namespace.run(&["rollout", "restart", "deployment/web"]);
    namespace.rolled_out("deployment/web");
    load.finish();
}

/// As long as a node's lease lasts, and longer.
const AWAY: Duration = Duration::from_secs(60);

/// Load while the API server stands still.
fn load_without_api_server(mesh: &Meshed, namespace: &Namespace<'_>) {
    let load = Load::start(mesh, namespace);
    let frozen = mesh.cluster.freeze("apiserver");
    // It is the time that is tested.
    std::thread::sleep(AWAY);
    drop(frozen);
    mesh.shell_until("kubectl get --raw /readyz", |output| output.status.success());
    // The nodes' word comes back.
    mesh.shell("kubectl wait node --all --for=condition=Ready --timeout=120s");
    namespace.rolled_out("deployment/web");
    load.finish();
}

#[test]
fn a_minute_without_the_api_server_loses_nothing_while_nodes_count_as_ready() {
    let Some(mesh) = Meshed::alone() else { return };
    mesh.cluster.node_grace("5m");
    load_without_api_server(&mesh, &served(&mesh, "away"));
    mesh.cluster.node_grace("50s");
}

#[test]
fn a_lapse_of_all_nodes_loses_nothing_within_the_mesh() {
    // Every endpoint goes unready at once, by the word of the node controller alone.
    let Some(mesh) = Meshed::alone() else { return };
    load_without_api_server(&mesh, &served(&mesh, "lapse"));
}

#[test]
fn while_the_controller_is_away_only_pods_of_the_mesh_wait() {
    let Some(mesh) = Meshed::alone() else { return };
    let (inside, outside) = (mesh.cluster.namespace("inside"), mesh.cluster.namespace("outside"));
    mesh.shell(&format!("kubectl annotate namespace {} linkerd.io/inject=enabled", inside.name()));
    let pod = |namespace: &Namespace<'_>, name: &str| {
        let image = "--image=localhost/weft-test/tools:1 --command -- sleep infinity";
        mesh.typed(&format!("kubectl run -n {} {name} {image}", namespace.name()))
    };
    // The namespace is in the list of those that wait.
    mesh.shell_until("kubectl get mutatingwebhookconfiguration weft-injector -o yaml", |output| {
        String::from_utf8_lossy(&output.stdout).contains(inside.name())
    });
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=0");
    mesh.shell("kubectl wait -n weft --for=delete pod -l weft.io/component=controller --timeout=60s");
    let refused = pod(&inside, "early");
    assert!(!refused.status.success(), "a pod of the mesh starts without a proxy");
    assert!(pod(&outside, "free").status.success(), "a pod outside of the mesh waits");
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=1");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    mesh.shell_until(&format!("kubectl run -n {} late --image=localhost/weft-test/tools:1", inside.name()), |output| {
        output.status.success()
    });
    let containers = inside.run(&["get", "pod", "late", "-o", "jsonpath={.spec.initContainers[*].name}"]);
    assert_eq!(containers, "weft-init weft-proxy");
}
