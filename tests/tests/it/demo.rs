//! README's first command, as every user that can be had here.

use weft_tests::{Installation, User, obstacle};

#[test]
fn the_demo_holds_its_claims() {
    if let Some(obstacle) = obstacle() {
        eprintln!("skipped: no user namespaces: {obstacle}");
        return;
    }
    for user in User::all() {
        let installation = Installation::new(user).unwrap();
        let output = installation.weft().args(["demo", "--once"]).output().unwrap();
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{user:?}: {told}\n{errors}");
        assert!(told.contains(" claims held, 0 failed"), "{user:?}: {told}");
    }
}
