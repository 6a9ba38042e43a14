//! What of UDP is refused, and who is told.

use weft_tests::User;

use super::rig::{ECHO, HOST, OUTSIDE, Server, counter, mesh, metrics, output_of, said, wait_for};

/// Sends to each argument, and says what a connected socket is told.
const REFUSED: &str = "
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(':', 1)
    for family, _, _, _, address in socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM):
        s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.connect(address)
        for _ in range(100):
            try: s.send(b'hello'); s.recv(10); print('answered')
            except ConnectionRefusedError: pass
        print(place, 'refused')
";

#[test]
fn datagrams_to_the_mesh_are_refused_and_a_line_says_so() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.run_until(&["caller", "--", "curl", "-sSf", "-o", "/dev/null", "http://web:8080/"], |output| {
        output.status.success()
    })
    .unwrap();
    mesh.start_workload(&[
        "other",
        "--",
        "python3",
        "-c",
        &format!("{REFUSED}\nimport time; time.sleep(1000)"),
        "web:8080",
        "240.240.9.9:5",
        "169.254.1.1:5",
    ])
    .unwrap();

    let page = wait_for(|| metrics(&mesh), |page| counter(page, "weft_udp_refused_total") == 400);
    assert_eq!(counter(&page, "weft_udp_sent_datagrams_total"), 0, "{page}");
    let log = wait_for(|| mesh.proxy_logs(), |log| log.matches("\"why\":\"udp\"").count() == 4);
    for detail in [
        "web.default.svc.cluster.local:8080: the mesh carries no UDP; call it over TCP",
        "240.240.9.9:5: the mesh carries no UDP",
        "169.254.1.1:5: link-local addresses are out of a workload's reach",
    ] {
        assert!(log.contains(&format!("\"detail\":\"{detail}")), "{detail}: {log}");
    }
    let output = output_of(&mesh, "other-1");
    assert!(output.contains("web:8080 refused") && !output.contains("answered"), "{output}");
}

#[test]
fn a_program_is_told_what_became_of_its_datagrams() {
    let Some(mesh) = mesh(User::all().pop().unwrap()) else { return };
    // Nobody listens at the first two, and no way leads to the others.
    let out = said(&mesh, &[], HOST, &[OUTSIDE[0], OUTSIDE[1], "203.0.113.9", "2001:db8:9::9"]);
    assert_eq!(out, "Connection refused\n".repeat(4));
    // Every address is local inside, so a program can send as anybody: it is told that nobody will answer.
    let code = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30); s.bind(('203.0.113.77', 0))
s.connect((sys.argv[1], 4000)); s.send(b'hello')
try: print(s.recv(10))
except OSError as error: print(error.strerror)
";
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    assert_eq!(said(&mesh, &[], code, &OUTSIDE), "Connection refused\n");
    wait_for(
        || mesh.proxy_logs(),
        |log| log.contains("198.51.100.1:4000: it is sent from an address that isn't the workload's"),
    );
}
