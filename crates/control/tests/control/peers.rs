//! Who may connect at all. The peer in another user namespace is this test program itself, started
//! by `unshare` (util-linux).

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use crate::harness::{DEADLINE, Mesh};

const SOCKET: &str = "WEFT_TEST_SOCKET";

#[tokio::test]
async fn a_peer_of_another_user_namespace_is_turned_away() {
    let mesh = Mesh::start();
    let program = env::current_exe().unwrap();
    let connect = |wrapper: &[&str]| {
        let line: Vec<_> = wrapper.iter().map(Into::into).chain([program.clone()]).collect();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(["--exact", "peers::connects", "--ignored"]);
        command.env(SOCKET, mesh.socket()).stdout(Stdio::null());
        spawn_blocking(move || command.status())
    };
    assert!(connect(&[]).await.unwrap().unwrap().success(), "a peer of our own is answered");
    assert!(!connect(&["unshare", "--user", "--map-current-user"]).await.unwrap().unwrap().success());
    assert!(Command::new("unshare").args(["--user", "--map-current-user", "true"]).status().unwrap().success());
    mesh.end().await;
}

/// Succeeds when the control plane answers on its socket.
#[test]
#[ignore = "the other test's peer"]
fn connects() {
    let mut stream = UnixStream::connect(env::var_os(SOCKET).unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut first = [0];
    assert_eq!(stream.read(&mut first).unwrap(), 1, "expected the server's settings, found the end");
}
