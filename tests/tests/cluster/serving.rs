//! An application of two replicas and those who ask it without a pause: what tests put under load.

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
pub(crate) fn served<'a>(mesh: &'a Meshed, name: &str) -> Namespace<'a> {
    let namespace = mesh.cluster.namespace(name);
    let file = |name: &str, text: &str| format!("--from-literal={name}={text}");
    namespace.run(&["create", "configmap", "programs", &file("server.py", SERVER), &file("load.py", LOAD)]);
    namespace.apply(SERVED);
    namespace.rolled_out("deployment/web");
    namespace
}

/// Requests of HTTP/1.1, on a kept and on new connections, and of gRPC, that go on until
/// [`Load::finish`].
pub(crate) struct Load<'a>(&'a Meshed, &'a Namespace<'a>);

impl<'a> Load<'a> {
    /// Starts it, and waits until it asks.
    pub(crate) fn start(mesh: &'a Meshed, namespace: &'a Namespace<'a>) -> Self {
        let address = namespace.run(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
        namespace.apply(&ASKING.replace("ADDRESS", &address));
        namespace.wait("pod/load", "condition=Ready");
        let log = format!("kubectl logs -n {} load -c http", namespace.name());
        mesh.shell_until(&log, |output| output.stdout == b"started\n");
        Self(mesh, namespace)
    }

    /// Ends it. Panics when a request was lost.
    pub(crate) fn finish(self) {
        let reports = self.reports();
        assert!(reports.iter().all(|report| report["failed"] == 0), "{reports:#?}");
    }

    /// Ends it; what became of the requests of HTTP/1.1 and of gRPC. Panics when a kind of them was never
    /// answered.
    pub(crate) fn reports(self) -> [Value; 2] {
        let Self(mesh, namespace) = self;
        for container in ["http", "grpc"] {
            let end = format!("kubectl exec -n {} load -c {container} -- touch /tmp/end", namespace.name());
            mesh.shell_until(&end, |output| output.status.success());
        }
        namespace.wait("pod/load", "jsonpath={.status.phase}=Succeeded");
        ["http", "grpc"].map(|container| report(namespace, container))
    }
}

fn report(namespace: &Namespace<'_>, container: &str) -> Value {
    let log = namespace.run(&["logs", "load", "-c", container]);
    let report: Value = serde_json::from_str(log.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{container}: {error}: {log}"));
    let kinds = match report["answered"].as_object() {
        Some(kinds) => kinds.values().collect(),
        None => vec![&report["answered"]],
    };
    assert!(kinds.iter().all(|count| count.as_u64().is_some_and(|count| count > 0)), "{container}: {report:#}");
    report
}
