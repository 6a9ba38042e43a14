//! A namespace whose Pod Security level refuses what redirection needs: what its user is told, and where.

use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;

const MODEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: modest, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: modest}}
  template:
    metadata: {labels: {app: modest}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: shell
        image: localhost/weft-test/tools:1
        command: [sleep, infinity]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

#[test]
fn a_namespace_that_refuses_redirection_is_told_what_to_do() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("modest");
    let name = namespace.name().to_owned();
    namespace.run(&["label", "namespace", &name, "pod-security.kubernetes.io/enforce=restricted"]);
    namespace.run(&["annotate", "namespace", &name, "linkerd.io/inject=enabled"]);
    namespace.apply(MODEST);
    // Never outside of the mesh: the pod isn't made, and the API server says why.
    let failed = "condition=ReplicaFailure";
    namespace.wait("deployment/modest", failed);
    let why = namespace.run(&["get", "deployment", "modest", "-o", "jsonpath={.status.conditions[*].message}"]);
    assert!(why.contains("weft-init") && why.contains("NET_ADMIN"), "{why}");
    assert_eq!(namespace.run(&["get", "pods", "-o", "name"]), "");
    // Weft says what to do, where people look: at the Deployment, and in the check.
    let mended = format!("kubectl label --overwrite namespace {name} pod-security.kubernetes.io/enforce=privileged");
    let events = format!("kubectl get events -n {name} -o jsonpath='{{.items[*].message}}'");
    mesh.shell_until(&events, |output| String::from_utf8_lossy(&output.stdout).contains(&mended));
    let check = mesh.typed(&format!("weft check --proxy -n {name} --wait=1s"));
    let check = told(&check);
    assert!(check.contains(&format!("refuses weft-init's NET_ADMIN in {name} (restricted)")), "{check}");

    mesh.shell(&mended);
    namespace.rolled_out("deployment/modest");
    let containers = namespace.run(&["get", "pods", "-o", "jsonpath={.items[0].spec.initContainers[*].name}"]);
    assert_eq!(containers, "weft-init weft-proxy");
}
