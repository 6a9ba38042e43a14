//! Who answers and who calls is proved; a certificate's renewal disturbs nobody.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use weft_identity::Bearer;
use weft_proxy::records::Update;

use crate::harness::*;
use crate::http::{asked, head_of};

#[test]
fn a_server_that_is_somebody_else_is_refused() {
    let (_listener, port) = program();
    let mesh = Mesh::new();
    let impostor = mesh.proxy("impostor", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Mesh(impostor.mesh))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    assert!(is_reset(&mut web.connect()));
    let line = web.log.wait(|line| line["why"] == "identity");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains("sa/api") && detail.contains("sa/impostor"), "{detail}");
}

#[test]
fn a_caller_of_another_authority_is_refused() {
    let (_listener, port) = program();
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let (web, api) = mesh.pair(port);
    // It trusts the mesh, and the mesh doesn't trust it.
    web.tell(Update::Credential(Arc::new(other.credential("web"))));
    assert!(is_reset(&mut web.connect()));
    web.log.wait(|line| line["why"] == "identity");
    api.wait_metric("weft_server_handshakes_total 0");
}

#[test]
fn a_request_of_a_caller_of_another_authority_is_answered_with_the_cause() {
    let (_listener, port) = program();
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let (web, _api) = mesh.pair(port);
    web.tell(Update::Credential(Arc::new(other.credential("web"))));
    for _ in 0..2 {
        let mut caller = web.connect();
        caller.write_all(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
        let head = head_of(&mut caller);
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("weft-error: identity; "), "{head}");
    }
    web.log.wait(|line| line["why"] == "identity" && line["path"] == "/");
}

#[test]
fn plain_bytes_on_the_meshs_port_are_closed() {
    let (_listener, port) = program();
    let (_web, api) = Mesh::new().pair(port);
    let mut plain = patient(TcpStream::connect(api.mesh).unwrap());
    plain.write_all(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
    let mut got = Vec::new();
    // A TLS alert at most, then the end.
    let _reset = plain.read_to_end(&mut got);
    assert!(got.len() < 16, "{got:?}");
    api.wait_metric("weft_failed_handshakes_total 1");
}

#[test]
fn a_new_certificate_disturbs_nobody() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let (web, api) = mesh.pair(port);
    let mut caller = web.connect();
    let mut called = accept(&listener);
    for round in 0..3 {
        web.tell(Update::Credential(Arc::new(mesh.credential("web"))));
        api.tell(Update::Credential(Arc::new(mesh.credential("api"))));
        caller.write_all(&[round]).unwrap();
        let mut got = [9];
        called.read_exact(&mut got).unwrap();
        assert_eq!(got, [round]);
        let mut another = web.connect();
        accept(&listener).write_all(b"new").unwrap();
        another.read_exact(&mut [0; 3]).unwrap();
    }
}

/// Accounts may be shared: what a caller's certificate says of it beside tells callers apart.
#[test]
fn callers_are_told_by_what_their_certificates_say() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let (web, api) = mesh.pair(port);
    let bearer =
        |name: &str| Bearer { workload: name.to_owned(), kind: "Deployment".to_owned(), app: "shop".to_owned() };
    for name in ["storefront", "checkout"] {
        web.tell(Update::Credential(Arc::new(mesh.credential_for("web", &bearer(name)))));
        // HTTP by a lane, and TCP on a connection of its own.
        let mut caller = web.connect();
        caller.write_all(b"GET /named HTTP/1.1\r\nhost: api\r\n\r\n").unwrap();
        let mut callee = asked(&listener);
        head_of(&mut callee);
        callee.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        head_of(&mut caller);
        let mut caller = web.connect();
        caller.write_all(b"\0\0").unwrap();
        drop((asked(&listener), caller));
        for protocol in ["http", "tcp"] {
            let line = api.log.wait(|line| line["protocol"] == protocol && line["source_workload"] == name);
            assert_eq!(line["source_principal"], id("web").as_str());
        }
        let labels = format!("source_workload=\"{name}\",source_workload_namespace=\"default\"");
        api.wait_metrics(|page| page.contains(&labels) && page.contains("source_app=\"shop\""));
    }
}
