//! What goes on under load while something ends or starts again: rolling restarts, the controller, a
//! proxy, the API server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

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
---
apiVersion: v1
kind: Pod
metadata: {name: load, namespace: NAMESPACE, labels: {sidecar.istio.io/inject: "true"}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: programs, configMap: {name: programs}}]
  containers:
  - name: shell
    image: localhost/weft-test/tools:1
    command: [sleep, infinity]
    volumeMounts: [{name: programs, mountPath: /programs}]
"#;

/// A served application, and a pod that asks it.
fn served<'a>(mesh: &'a Meshed, name: &str) -> Namespace<'a> {
    let namespace = mesh.cluster.namespace(name);
    let file = |name: &str, text: &str| format!("--from-literal={name}={text}");
    namespace.run(&["create", "configmap", "programs", &file("server.py", SERVER), &file("load.py", LOAD)]);
    namespace.apply(SERVED);
    namespace.rolled_out("deployment/web");
    namespace.wait("pod/load", "condition=Ready");
    let ask = ["curl", "-fsS", "-m", "5", "-o", "/dev/null", "http://web:8080/"];
    namespace.exec_until("load -c shell", &ask, |output| output.status.success());
    namespace
}

/// Requests that go on in the pod `load` until [`Load::finish`].
struct Load(Child, BufReader<std::process::ChildStdout>);

impl Load {
    /// HTTP/1.1 on a kept and on new connections.
    fn http(namespace: &Namespace<'_>) -> Self {
        let mut load = Self::start(namespace, &["python3", "/programs/load.py", "1", "20", "kept HTTP", "new HTTP"]);
        let mut line = String::new();
        load.1.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        load
    }

    /// gRPC calls on one connection.
    fn grpc(namespace: &Namespace<'_>) -> Self {
        Self::start(namespace, &["grpc", "load", "web:7000", "20"])
    }

    fn start(namespace: &Namespace<'_>, program: &[&str]) -> Self {
        let mut command = namespace.kubectl();
        command.args(["exec", "-i", "load", "-c", "shell", "--"]).args(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        Self(child, told)
    }

    /// Ends it; what became of the requests.
    fn finish(mut self) -> Value {
        drop(self.0.stdin.take());
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        self.0.wait().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))
    }
}

#[test]
fn a_rolling_restart_at_load_loses_no_request() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = served(&mesh, "rolling");
    let (http, grpc) = (Load::http(&namespace), Load::grpc(&namespace));
    namespace.run(&["rollout", "restart", "deployment/web"]);
    namespace.rolled_out("deployment/web");
    // The old pods go on for some seconds.
    let pods = format!("kubectl get pods -n {} -l app=web -o name", namespace.name());
    mesh.shell_until(&pods, |output| String::from_utf8_lossy(&output.stdout).lines().count() == 2);
    for report in [http.finish(), grpc.finish()] {
        assert_eq!(report["failed"], 0, "{report:#}");
    }
}

#[test]
fn nothing_is_lost_while_the_controller_starts_again() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = served(&mesh, "controller");
    let (http, grpc) = (Load::http(&namespace), Load::grpc(&namespace));
    mesh.shell("kubectl delete pod -n weft -l weft.io/component=controller --now");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    // Endpoints that change afterwards are known again.
    namespace.run(&["rollout", "restart", "deployment/web"]);
    namespace.rolled_out("deployment/web");
    for report in [http.finish(), grpc.finish()] {
        assert_eq!(report["failed"], 0, "{report:#}");
    }
}
