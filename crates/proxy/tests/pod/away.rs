//! The control plane goes away: what is known goes on, the Internet too, and what may be of the mesh is
//! never called plainly.

use std::time::Duration;

use crate::net::{INTERNET, Place, addresses, is_skipped, wait};
use crate::scene::{API, OUTSIDER, SERVICE, Scene, TARGET, WEB, control_address};

#[test]
fn while_the_control_plane_is_away_only_what_may_be_of_the_mesh_and_is_new_waits_for_it() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    scene.serve(API, "0.0.0.0", "known");
    scene.serve(Place::Node, INTERNET, "of-the-internet");
    scene.serve(OUTSIDER, "0.0.0.0", "a-pod-that-is-new");
    let service = format!("http://{}/", SERVICE[0]);
    let says = |scene: &Scene, url: &str| scene.node.curl(WEB, &[url]);
    assert!(says(&scene, &service).1.contains("known"), "{}", scene.log("web"));
    scene.control.end();
    wait("a proxy that misses its control plane", || scene.log("web").contains("the control plane is away"));

    let (_, said) = says(&scene, &format!("http://{INTERNET}:{TARGET}/"));
    assert!(said.contains("of-the-internet"), "{said}\n{}", scene.log("web"));
    assert!(says(&scene, &service).1.contains("known"));
    let new = format!("http://{}:{TARGET}/", addresses(2)[0]);
    let (code, said) = says(&scene, &new);
    assert!(code != Some(0) && !said.contains("a-pod-that-is-new"), "{code:?} {said}");
    wait("a refusal that says why", || scene.log("web").contains("within 5 s: the control plane is away"));

    scene.node.inside(Place::Node, || scene.control.serve(control_address()));
    wait("an answer", || says(&scene, &new).1.contains("a-pod-that-is-new"));
}
