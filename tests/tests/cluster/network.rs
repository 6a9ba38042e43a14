//! The cluster itself, without a mesh: what all other scenarios take for granted.

use std::time::Instant;

use weft_tests::cluster::{Cluster, PATIENCE};
use weft_tests::mesh::told;
use weft_tests::shell::Shell;

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: NAMESPACE, labels: {app: server}}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: localhost/weft-test/tools:1
    command: [python3, -m, http.server, "8080", --bind, "::"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: NAMESPACE}
spec: {ipFamilyPolicy: RequireDualStack, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
"#;

#[test]
fn pods_of_two_nodes_reach_each_other_by_a_service_in_both_families() {
    let Some(cluster) = Cluster::running() else { return };
    let namespace = cluster.namespace("network");
    namespace.apply(PODS);
    namespace.apply(&Shell::outside("caller").on("node2").manifest());
    namespace.wait("pod/server", "condition=Ready");
    namespace.wait("pod/caller", "condition=Ready");
    for family in ["-4", "-6"] {
        let call = ["curl", family, "-sSf", "-m", "30", "-o", "/dev/null", "-w", "%{remote_ip}", "http://server/"];
        let address = namespace.exec_until("caller", &call, |output| output.status.success());
        assert_eq!(address.contains(':'), family == "-6", "{address}");
    }
}

#[test]
fn services_go_on_while_the_api_server_stands_still() {
    let Some(cluster) = Cluster::running() else { return };
    let namespace = cluster.namespace("frozen");
    // The machine asks node 1, which asks another node.
    namespace.apply(&PODS.replace("node1", "node2"));
    namespace.wait("pod/server", "condition=Ready");
    let address = namespace.run(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"]);
    // From the machine, as kubectl's exec goes by the API server.
    let call = || cluster.command("curl").args(["-sSf", "-m", "30", &format!("http://{address}/")]).output().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !call().status.success() {
        assert!(Instant::now() < deadline, "{}", told(&call()));
    }
    let frozen = cluster.freeze("apiserver");
    let answer = cluster.kubectl().args(["get", "--raw", "/readyz", "--request-timeout=1s"]).output().unwrap();
    assert!(!answer.status.success(), "{}", told(&answer));
    for _ in 0..20 {
        let output = call();
        assert!(output.status.success(), "{}", told(&output));
    }
    drop(frozen);
    assert_eq!(cluster.run(&["get", "--raw", "/readyz"]), "ok");
}

#[test]
fn a_node_is_a_network_of_its_own() {
    let Some(cluster) = Cluster::running() else { return };
    for node in [1, 2] {
        let output = cluster.node(node).args(["ip", "-o", "addr", "show", "eth0"]).output().unwrap();
        let addresses = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(addresses.contains(&format!(".128.1{node}/24")) && addresses.contains("inet6"), "{addresses}");
    }
}
