//! README's Kubernetes page, typed as it stands, by a user who has never seen it.

use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;

const APP: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: payments, namespace: NAMESPACE}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: payments, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: payments}}
  template:
    metadata: {labels: {app: payments}}
    spec:
      serviceAccountName: payments
      terminationGracePeriodSeconds: 5
      containers:
      - name: payments
        image: localhost/weft-test/tools:1
        command: [python3, -m, http.server, "8080"]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: NAMESPACE}
spec: {selector: {app: payments}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: checkout
        image: localhost/weft-test/tools:1
        command: [sh, -c, "while true; do curl -s -o /dev/null http://payments/; sleep 0.2; done"]
"#;

#[test]
fn install_annotate_restart_done() {
    let Some(mesh) = Meshed::bare() else { return };
    if mesh.typed("kubectl get namespace weft").status.success() {
        mesh.shell("weft uninstall --force | kubectl delete -f -");
        mesh.shell("kubectl wait --for=delete namespace/weft --timeout=120s");
    }
    mesh.gone();
    let app = mesh.cluster.namespace("myapp");
    app.apply(APP);
    app.rolled_out("deployment/payments");

    mesh.shell("weft check --pre");
    mesh.shell("weft install --crds | kubectl apply -f -");
    mesh.shell("weft install | kubectl apply -f -");
    mesh.shell("weft check --wait 120s");
    let again = mesh.shell("weft install | kubectl apply -f -");
    let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with("unchanged")).collect();
    assert_eq!(changed, [""; 0], "an installation is applied again");

    let name = app.name().to_owned();
    mesh.shell(&format!("kubectl annotate namespace {name} linkerd.io/inject=enabled"));
    mesh.shell(&format!("kubectl rollout restart -n {name} deploy"));
    app.rolled_out("deployment/payments");
    app.rolled_out("deployment/checkout");
    mesh.shell(&format!("weft check --proxy -n {name} --wait=120s"));

    let stat = mesh.shell_until(&format!("weft stat deploy -n {name}"), |output| {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.contains("payments") && line.contains("100.00%"))
    });
    assert!(stat.starts_with("NAME"), "{stat}");
    let edges = mesh.shell_until(&format!("weft edges deploy -n {name} -o json"), |output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.contains("checkout") && text.contains("payments")
    });
    assert!(edges.contains("mutual_tls"), "{edges}");
    let tapped = mesh.shell(&format!("timeout 60 weft tap deploy/payments -n {name} --count 1"));
    assert!(tapped.contains("GET"), "{tapped}");

    let refused = mesh.typed("weft uninstall");
    assert!(!refused.status.success() && told(&refused).contains(&name), "{}", told(&refused));
    mesh.shell(&format!("kubectl annotate namespace {name} linkerd.io/inject-"));
    mesh.shell(&format!("kubectl rollout restart -n {name} deploy"));
    app.rolled_out("deployment/payments");
    app.rolled_out("deployment/checkout");
    mesh.shell_until("weft uninstall | kubectl delete -f -", |output| output.status.success());
    mesh.shell("kubectl wait --for=delete namespace/weft --timeout=120s");
    let left = mesh.shell(
        "kubectl get clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations -o name",
    );
    assert!(!left.contains("weft"), "{left}");
}
