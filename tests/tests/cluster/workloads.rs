//! Workloads that meshes find hard: Jobs, StatefulSets by name, servers that speak first, calls to the
//! API server, both dialects of injection in one mesh.

use std::process::Output;

use weft_tests::meshed::Meshed;
use weft_tests::shell::Shell;

use crate::guarded::SERVER;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: NAMESPACE}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {linkerd.io/inject: enabled}}
    spec:
      restartPolicy: Never
      initContainers:
      - {name: early, image: "localhost/weft-test/tools:1", command: [sh, -c, "until curl -fs -m 10 -o /dev/null http://web/; do sleep 0.2; done"]}
      containers:
      - {name: late, image: "localhost/weft-test/tools:1", command: [curl, -sS, -m, "10", -w, "%{http_code}", -o, /dev/null, "http://web/"]}
"#;

#[test]
fn a_job_completes_and_its_init_containers_have_the_network() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("job");
    namespace.apply(SERVER);
    namespace.apply(JOB);
    namespace.wait("job/once", "condition=Complete");
    let pod =
        namespace.run(&["get", "pod", "-l", "job-name=once", "-o", "jsonpath={.items[0].spec.initContainers[*].name}"]);
    assert_eq!(pod, "weft-init weft-proxy early", "the pod was injected");
    assert_eq!(namespace.run(&["logs", "job/once", "-c", "late"]), "200");
}

const STATEFUL: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis, namespace: NAMESPACE}
spec:
  serviceName: redis
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}, annotations: {linkerd.io/inject: enabled}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: redis
        image: localhost/weft-test/tools:1
        command: [sh, -c, 'case $HOSTNAME in redis-0) exec redis-server --protected-mode no --save "";; *) exec redis-server --protected-mode no --save "" --replicaof redis-0.redis 6379;; esac']
        readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: NAMESPACE}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: NAMESPACE}
spec: {mtls: {mode: STRICT}}
"#;

#[test]
fn a_stateful_set_replicates_and_is_called_by_its_pods_names() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("stateful");
    namespace.apply(STATEFUL);
    namespace.apply(&Shell::meshed("client").manifest());
    namespace.rolled_out("statefulset/redis");
    namespace.wait("pod/client", "condition=Ready");
    let set = ["redis-cli", "-h", "redis-0.redis", "set", "card", "4929"];
    namespace.exec_until("client -c shell", &set, |output| said(output) == "OK\n");
    let get = ["redis-cli", "-h", "redis-1.redis", "get", "card"];
    namespace.exec_until("client -c shell", &get, |output| said(output) == "4929\n");
    // STRICT holds for the replica's own connection to redis-0, too: it came as an identity.
    let state = namespace.exec("client -c shell", &["redis-cli", "-h", "redis-1.redis", "info", "replication"]);
    assert!(said(&state).contains("master_link_status:up"), "{}", said(&state));
}

const SPEAKS_FIRST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: greeter, namespace: NAMESPACE, labels: {app: greeter, sidecar.istio.io/inject: "true"}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: greeter
    image: localhost/weft-test/tools:1
    command:
    - python3
    - -c
    - |
      import socketserver
      class Greet(socketserver.StreamRequestHandler):
          def handle(self):
              self.wfile.write(b"220 hello\n")
              self.wfile.write(b"you said " + self.rfile.readline())
      class Server(socketserver.ThreadingTCPServer):
          allow_reuse_address = True
      Server(("", 2525), Greet).serve_forever()
    readinessProbe: {tcpSocket: {port: 2525}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: NAMESPACE}
spec: {selector: {app: greeter}, ports: [{port: 2525}]}
"#;
const GREETED: &str = r#"
import socket, sys, time
began = time.monotonic()
connection = socket.create_connection(("greeter", 2525), timeout=20)
lines = connection.makefile("rwb")
first = lines.readline().decode().strip()
lines.write(b"card\n"); lines.flush()
print(first, "/", lines.readline().decode().strip())
"#;

#[test]
fn a_server_that_speaks_first_needs_no_annotation() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("first");
    namespace.apply(SPEAKS_FIRST);
    namespace.apply(&Shell::meshed("client").manifest());
    namespace.wait("pod/greeter", "condition=Ready");
    namespace.wait("pod/client", "condition=Ready");
    let answer = namespace.exec_until("client -c shell", &["python3", "-c", GREETED], |output| output.status.success());
    assert_eq!(answer, "220 hello / you said card\n");
}

#[test]
fn calls_to_the_api_server_go_on() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("api");
    namespace.apply(&Shell::meshed("client").manifest());
    namespace.wait("pod/client", "condition=Ready");
    let ask = "curl -sS -m 10 --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt \
        -H \"Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)\" \
        https://kubernetes.default.svc/version";
    let answer = namespace.exec_until("client -c shell", &["sh", "-c", ask], |output| output.status.success());
    assert!(answer.contains("gitVersion"), "{answer}");
}
