//! Resource definitions that are missing at the start, and that go while the mesh runs.

use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;

use crate::guarded::Guarded;

const CRDS: &str = "crd/authorizationpolicies.security.istio.io crd/peerauthentications.security.istio.io";
const LOG: &str = "kubectl logs -n weft deployment/weft-controller --tail=300";

/// What the check and the log say while there are none.
fn is_told(mesh: &Meshed) {
    let check = mesh.typed("weft check --wait=1s");
    assert!(!check.status.success());
    let check = told(&check);
    assert!(check.contains("authorizationpolicies.security.istio.io is missing"), "{check}");
    assert!(check.contains("weft install --crds | kubectl apply -f -"), "{check}");
    mesh.shell_until(LOG, |output| {
        String::from_utf8_lossy(&output.stdout).contains("no kind AuthorizationPolicy of security.istio.io")
    });
}

#[test]
fn missing_definitions_are_told_and_seen_as_soon_as_they_are_there() {
    let Some(mesh) = Meshed::absent() else { return };
    mesh.shell(&format!("kubectl delete --ignore-not-found {CRDS}"));
    let refused = mesh.typed("weft install");
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(told(&refused).contains("first: weft install --crds | kubectl apply -f -"), "{}", told(&refused));
    mesh.shell("weft install --crds | kubectl apply -f -");
    mesh.shell("weft install | kubectl apply -f -");
    mesh.shell("weft check --wait=120s");
    let guarded = Guarded::start(&mesh, "definitions");

    // The API server deletes a definition's objects with it: as if by hand, and so nothing guards any more.
    mesh.shell(&format!("kubectl delete {CRDS}"));
    is_told(&mesh);
    guarded.until("stranger", "200");
    guarded.until("friend", "200");
    // A controller that starts without them serves all the same.
    mesh.shell("kubectl rollout restart -n weft deployment/weft-controller");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    is_told(&mesh);

    mesh.shell("weft install --crds | kubectl apply -f -");
    mesh.shell(&format!("kubectl wait --for=condition=Established {CRDS} --timeout=120s"));
    guarded.guard();
    mesh.shell("weft check --wait=120s");
}
