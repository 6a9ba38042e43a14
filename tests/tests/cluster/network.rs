//! The cluster itself, without a mesh: what all other scenarios take for granted.

use weft_tests::cluster::Cluster;

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
kind: Pod
metadata: {name: caller, namespace: NAMESPACE}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 0
  containers: [{name: caller, image: "localhost/weft-test/tools:1", command: [sleep, infinity]}]
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
    namespace.wait("pod/server", "condition=Ready");
    namespace.wait("pod/caller", "condition=Ready");
    for family in ["-4", "-6"] {
        let call = ["curl", family, "-sSf", "-m", "5", "-o", "/dev/null", "-w", "%{remote_ip}", "http://server/"];
        let address = namespace.exec_until("caller", &call, |output| output.status.success());
        assert_eq!(address.contains(':'), family == "-6", "{address}");
    }
}

#[test]
fn a_node_is_a_network_of_its_own() {
    let Some(cluster) = Cluster::running() else { return };
    for node in [1, 2] {
        let output = cluster.node(node).args(["ip", "-o", "addr", "show", "eth0"]).output().unwrap();
        let addresses = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(addresses.contains(&format!(".0.1{node}/24")) && addresses.contains("inet6"), "{addresses}");
    }
}
