//! What `weft install` prints, as a real API server takes it, and what `weft check` says of a cluster
//! without a mesh. Nothing of Weft runs here, and nothing is installed but resource definitions.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use weft_tests::cluster::{Cluster, Namespace};
use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;
use weft_tests::{Installation, User};

/// `weft` with these words, in this cluster.
fn weft(cluster: &Cluster, words: &[&str]) -> Output {
    let installation = Installation::new(User::Own).unwrap();
    let mut command = installation.weft();
    let kubectl = cluster.kubectl();
    command.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(words).output().unwrap()
}

/// What it prints, if it succeeds.
fn printed(cluster: &Cluster, words: &[&str]) -> String {
    let output = weft(cluster, words);
    assert!(output.status.success(), "{words:?}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A command with this text on its standard input.
fn fed(mut command: Command, text: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The resource definitions, as README's page makes them.
fn define(cluster: &Cluster) -> String {
    let definitions = printed(cluster, &["install", "--crds"]);
    cluster.apply(&definitions);
    for name in ["peerauthentications", "authorizationpolicies"] {
        let name = format!("crd/{name}.security.istio.io");
        cluster.run(&["wait", &name, "--for=condition=Established", "--timeout=120s"]);
    }
    definitions
}

fn json(namespace: &Namespace<'_>, what: &str) -> Value {
    serde_json::from_str(&namespace.run(&["get", what, "-o", "json"])).unwrap()
}

#[test]
fn definitions_apply_again_and_keep_what_they_do_not_know() {
    let Some(mesh) = Meshed::absent() else { return };
    let cluster = &mesh.cluster;
    let definitions = define(cluster);
    let mut again = cluster.kubectl();
    again.args(["apply", "-f", "-"]);
    let again = fed(again, &definitions);
    assert_eq!(String::from_utf8_lossy(&again.stdout).matches(" unchanged").count(), 2, "{}", told(&again));
    let namespace = cluster.namespace("definitions");
    namespace.apply(
        "\
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: misspelt, namespace: NAMESPACE}
spec:
  acton: DENY
  rules: [{form: [{source: {prinicpals: [a]}}]}]",
    );
    let found = json(&namespace, "authorizationpolicies.v1.security.istio.io/misspelt");
    assert_eq!(found["spec"]["acton"], "DENY");
    assert_eq!(found["spec"]["rules"][0]["form"][0]["source"]["prinicpals"][0], "a");
}

#[test]
fn the_manifests_are_accepted_without_a_warning() {
    let Some(mesh) = Meshed::absent() else { return };
    let cluster = &mesh.cluster;
    define(cluster);
    let namespace = cluster.namespace("manifests");
    namespace.run(&["label", "namespace", namespace.name(), "pod-security.kubernetes.io/warn=restricted"]);
    for form in ["yaml", "json"] {
        let manifests = printed(cluster, &["install", "-L", namespace.name(), "-o", form]);
        let mut apply = cluster.kubectl();
        apply.args(["apply", "--dry-run=server", "-f", "-"]);
        let output = fed(apply, &manifests);
        assert!(output.status.success(), "{}", told(&output));
        // kubectl says that it wasn't kubectl apply that made the namespace.
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!warnings.contains("PodSecurity") && !warnings.contains("unknown field"), "{warnings}");
    }
}

#[test]
fn a_check_tells_what_is_missing() {
    let Some(mesh) = Meshed::absent() else { return };
    let cluster = &mesh.cluster;
    let namespace = cluster.namespace("check");
    let output = weft(cluster, &["check", "-L", namespace.name(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["success"], false);
    let last = report["categories"].as_array().unwrap().last().unwrap();
    assert_eq!(last["categoryName"], "weft-existence");
    assert!(last["checks"][0]["hint"].as_str().unwrap().contains("weft install | kubectl apply -f -"), "{last}");
    let fresh = weft(cluster, &["check", "--pre", "-L", "nowhere", "--wait", "1s"]);
    assert!(fresh.status.success(), "{}", told(&fresh));
    let nobody = weft(cluster, &["check", "--pre", "-L", "nowhere", "--as", "nobody", "-o", "short"]);
    assert_eq!(nobody.status.code(), Some(1), "{}", told(&nobody));
    assert!(told(&nobody).contains("no right to create namespaces"), "{}", told(&nobody));
}
