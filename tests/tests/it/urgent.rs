//! TCP's urgent bytes, which TLS doesn't know.

use std::process::Stdio;

use weft_tests::mesh::{Mesh, told};
use weft_tests::{User, can_run};

/// Says what it was sent, with an urgent byte in its midst.
const SERVER: &str = r#"
import socket
server = socket.create_server(("", 7777))
while True:
    connection, _ = server.accept()
    heard = connection.makefile().read()
    if heard:
        connection.sendall(f"heard {heard}, ".encode())
        connection.send(b"a", socket.MSG_OOB)
        connection.sendall(b"nswered")
    connection.close()
"#;
const CLIENT: &str = r#"
import socket
with socket.create_connection(("web", 7777)) as connection:
    connection.sendall(b"to be ")
    connection.send(b"u", socket.MSG_OOB)
    connection.sendall(b"rgent")
    connection.shutdown(socket.SHUT_WR)
    print(connection.makefile().read())
"#;

#[test]
fn urgent_bytes_come_in_their_place() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::start(User::all().pop().unwrap(), &[], &["--metrics-address", "none"]).unwrap();
    let run = |words: &[&str]| {
        let output = mesh.weft().arg("run").args(words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["--detach", "--ready-port", "7777", "web", "--", "python3", "-c", SERVER]);
    assert_eq!(run(&["caller", "--", "python3", "-c", CLIENT]), "heard to be urgent, answered\n");
}
