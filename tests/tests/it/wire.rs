//! What an eavesdropper between two proxies gets, by a capture of their whole network.

use std::process::{Command, Stdio};
use std::time::Instant;

use weft_tests::capture::{Capture, contains};
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{Installation, User, can_run};

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
    metadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
/// What the program sends to itself, in bytes at least: each way through a pair of proxies.
const SENT: usize = 2 * 30_000 * MARK.len();
const MARK: &str = "card-4929-1312-0007-2026";
const PLAIN_MARK: &str = "plain-4929-1312-0007-2026";

#[test]
fn no_plain_byte_passes_between_proxies() {
    if !can_run() {
        return;
    }
    let installation = Installation::new(User::all().pop().unwrap()).unwrap();
    let (installation, capture) = Capture::of(installation).unwrap();
    let mesh = Mesh::of(installation, &[("strict.yaml", STRICT)], &[]).unwrap();
    let server = include_str!("../../programs/server.py");
    let run = ["run", "--detach", "--ready-port", "8080", "web", "--", "python3", "-c", server];
    let started = mesh.weft().args(run).stdin(Stdio::null()).output().unwrap();
    assert!(started.status.success(), "{}", told(&started));

    let program = include_str!("../../programs/marked.py");
    let output = mesh.run(&["caller", "--", "python3", "-c", program, "web", MARK]).unwrap();
    assert_eq!(output.stdout, b"all came back\n", "{}", told(&output));

    // The same programs without Weft in the same network, at last: what is captured up to there is all.
    let mut plain_server = mesh.command("python3");
    let mut plain_server = plain_server.args(["-c", server]).stdin(Stdio::null()).spawn().unwrap();
    let mut call = mesh.command("python3");
    call.args(["-c", program, "127.0.0.1", PLAIN_MARK]);
    let told = until_it_answers(&mut call);
    plain_server.kill().unwrap();
    plain_server.wait().unwrap();
    assert_eq!(told, "all came back\n");

    let captured = capture.until(PLAIN_MARK);
    let end = captured.windows(PLAIN_MARK.len()).position(|window| window == PLAIN_MARK.as_bytes()).unwrap();
    assert!(end > SENT, "the proxies' {end} bytes hold all that passed between them");
    assert!(!contains(&captured, MARK), "a plain byte passed");
}

fn until_it_answers(call: &mut Command) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = call.output().unwrap();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        assert!(Instant::now() < deadline, "{}", told(&output));
    }
}
