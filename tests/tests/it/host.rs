//! The host's loopback from inside of a workload: by its name and at forwarded ports, and by no other way.

use std::io::{Read, Write};
use std::net::TcpListener;

use weft_tests::mesh::{Mesh, told};
use weft_tests::{User, can_run};

/// A server on the host's loopback that says who it is; its port.
fn serve(loopback: &str) -> u16 {
    let listener = TcpListener::bind((loopback, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhost");
            }
        }
    });
    port
}

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    Some(Mesh::start(User::all().pop().unwrap(), &[], &[]).unwrap())
}

#[test]
fn the_hosts_loopback_has_a_name() {
    let Some(mesh) = mesh() else { return };
    let ports = ["::1", "127.0.0.1"].map(serve);
    for port in ports {
        let url = format!("http://host.weft.internal:{port}/");
        let output = mesh.run(&["caller", "--", "curl", "-sS", "-m", "30", &url]).unwrap();
        assert_eq!(output.stdout, b"host", "{port} of {ports:?}: {}", told(&output));
    }
    let port = ports[1];
    let own = format!("http://127.0.0.1:{port}/");
    let refused = mesh.run(&["caller", "--", "curl", "-sS", "-m", "30", &own]).unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", told(&refused));
}

#[test]
fn a_forwarded_port_is_the_hosts_for_the_program_and_for_nobody_else() {
    let Some(mut mesh) = mesh() else { return };
    let port = serve("127.0.0.1");
    let forward = port.to_string();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let url = format!("http://{host}:{port}/");
        let output = mesh.run(&["caller", "--forward", &forward, "--", "curl", "-sS", "-m", "30", &url]).unwrap();
        assert_eq!(output.stdout, b"host", "{host}: {}", told(&output));
    }
    mesh.start_workload(&["web", "--forward", &forward, "--", "python3", "-m", "http.server", "8080"]).unwrap();
    let plain = ["caller", "--", "curl", "-sSf", "-m", "30", "-o", "/dev/null", "http://web:8080/"];
    mesh.run_until(&plain, |output| output.status.success()).unwrap();
    // A caller of the mesh doesn't come through the workload to the host.
    let through = format!("http://web:{port}/");
    let output = mesh.run(&["caller", "--", "curl", "-sS", "-m", "30", &through]).unwrap();
    assert!(!told(&output).contains("host\n") && output.stdout != b"host", "{}", told(&output));
    assert!(told(&output).contains("connect") || !output.status.success(), "{}", told(&output));
}
