//! What goes on under load while something ends or starts again: rolling restarts, the controller, a
//! proxy, the API server.

use std::time::Duration;

use weft_tests::cluster::Namespace;
use weft_tests::meshed::Meshed;

use crate::serving::{Load, served};

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

#[test]
fn a_controllers_service_that_is_made_again_is_found() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = served(&mesh, "moved");
    let name = namespace.name();
    let address = mesh.shell("kubectl get service -n weft weft-controller -o jsonpath={.spec.clusterIP}");
    mesh.shell("kubectl delete service -n weft weft-controller");
    // Its address is another's now.
    mesh.shell(&format!("kubectl create service clusterip -n {name} taken --tcp=15012 --clusterip={address}"));
    mesh.shell("weft install | kubectl apply -f -");
    // Connections that stand outlive their Service: it is the next controller that must be found.
    mesh.shell("kubectl rollout restart -n weft deployment/weft-controller");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    namespace.apply(DENY);
    mesh.shell(&format!("kubectl wait -n {name} authorizationpolicy/closed --for=condition=Enforced --timeout=120s"));
    mesh.shell(&format!("weft check --proxy -n {name} --wait 60s"));
}

/// For the pods that `served` makes.
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules: [{}]
";

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
    let closed =
        [("closed", "istio-injection"), ("unhooked", "config.linkerd.io/admission-webhooks")].map(|(name, key)| {
            let namespace = mesh.cluster.namespace(name);
            mesh.shell(&format!("kubectl label namespace {} {key}=disabled", namespace.name()));
            namespace
        });
    let pod = |namespace: &Namespace<'_>, name: &str| {
        let image = "--image=localhost/weft-test/tools:1 --command -- sleep infinity";
        mesh.typed(&format!("kubectl run -n {} {name} {image}", namespace.name()))
    };
    // The namespace is in the list of those that wait.
    mesh.shell_until("kubectl get mutatingwebhookconfiguration weft-injector -o yaml", |output| {
        String::from_utf8_lossy(&output.stdout).contains(inside.name())
    });
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=0");
    mesh.shell("kubectl wait -n weft --for=delete pod -l weft.io/component=controller --timeout=120s");
    let refused = pod(&inside, "early");
    assert!(!refused.status.success(), "a pod of the mesh starts without a proxy");
    assert!(pod(&outside, "free").status.success(), "a pod outside of the mesh waits");
    for asks in ["--annotations=linkerd.io/inject=enabled", "--labels=istio.io/rev=x"] {
        assert!(!pod(&outside, &format!("asks {asks}")).status.success(), "a pod with {asks} starts without a proxy");
    }
    let overridden = |spec: &str| format!("overridden --overrides='{{\"spec\": {spec}}}'");
    let never = [
        (&closed[0], "labelled --labels=sidecar.istio.io/inject=true".to_owned()),
        (&closed[1], "annotated --annotations=linkerd.io/inject=enabled".to_owned()),
        (&inside, "out --annotations=sidecar.istio.io/inject=No".to_owned()),
        (&inside, overridden(r#"{"os": {"name": "windows"}}"#)),
        (&inside, overridden(r#"{"containers": [{"name": "a", "image": "docker.io/istio/proxyv2:1.2"}]}"#)),
        (&inside, overridden(r#"{"containers": [{"name": "istio-proxy", "image": "a"}]}"#)),
    ];
    for (namespace, words) in never {
        let made = pod(namespace, &format!("{words} --dry-run=server"));
        assert!(made.status.success(), "a pod that never gets a proxy waits: {words}: {made:?}");
    }
    mesh.shell("kubectl scale -n weft deployment/weft-controller --replicas=1");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    mesh.shell_until(&format!("kubectl run -n {} late --image=localhost/weft-test/tools:1", inside.name()), |output| {
        output.status.success()
    });
    let containers = inside.run(&["get", "pod", "late", "-o", "jsonpath={.spec.initContainers[*].name}"]);
    assert_eq!(containers, "weft-init weft-proxy");
}
