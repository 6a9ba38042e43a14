//! Rights that are taken away while the mesh runs, and given back.

use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;
use weft_tests::shell::Shell;

use crate::guarded::Guarded;

const LOG: &str = "kubectl logs -n weft deployment/weft-controller --tail=300";

#[test]
fn without_rights_what_worked_goes_on_and_with_them_the_rest_comes_back() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "rights");
    mesh.shell("kubectl delete clusterrolebinding weft-controller");
    // A watch that was allowed once goes on as long as its connection does.
    mesh.cluster.restart("apiserver");
    mesh.shell_until(LOG, |output| {
        let log = String::from_utf8_lossy(&output.stdout);
        log.contains("no right to do so") && log.contains("authorizationpolicies.security.istio.io is forbidden")
    });
    let check = mesh.typed("weft check --wait=1s");
    assert!(!check.status.success(), "{}", told(&check));
    let check = told(&check);
    assert!(check.contains("weft-controller is missing") && check.contains("weft install | kubectl apply"), "{check}");
    guarded.holds();
    guarded.namespace.apply(&Shell::meshed("late").manifest());
    mesh.shell_until(LOG, |output| {
        String::from_utf8_lossy(&output.stdout).contains("no proxy can get a certificate now")
    });
    guarded.holds();

    mesh.shell("weft install | kubectl apply -f -");
    guarded.namespace.wait("pod/late", "condition=Ready");
    mesh.shell("weft check --wait=120s");
    // What changes is seen again.
    guarded.namespace.run(&["delete", "authorizationpolicy", "friends"]);
    guarded.until("stranger", "200");
    guarded.guard();
}

#[test]
fn a_single_right_that_is_missing_is_named() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "single");
    let policies = r#"kubectl get clusterrole weft-controller -o json | python3 -c '
import json, sys
role = json.load(sys.stdin)
role["rules"] = [rule for rule in role["rules"] if "tokenreviews" not in rule["resources"]]
print(json.dumps(role))' | kubectl apply -f -"#;
    mesh.shell(policies);
    guarded.namespace.apply(&Shell::meshed("late").manifest());
    let check = mesh.typed("weft check --wait=1s");
    let check = told(&check);
    assert!(check.contains("weft-controller has no right to create tokenreviews"), "{check}");
    mesh.shell_until(LOG, |output| {
        String::from_utf8_lossy(&output.stdout).contains("tokenreviews.authentication.k8s.io is forbidden")
    });
    guarded.holds();
    mesh.shell("weft install | kubectl apply -f -");
    guarded.namespace.wait("pod/late", "condition=Ready");
    mesh.shell("weft check --wait=120s");
}
