//! HTTP/1 inside of HBONE: judged request by request where the port is declared HTTP, and balanced
//! request by request by a caller.

use std::net::{SocketAddr, TcpListener};

use weft_mesh::record::{Action, AppProtocol, Inbound, Pattern, PortProtocol};

use super::callee::{called, called_as, status, through};
use super::caller::{calling, rules};
use super::peer::{serve, to};
use crate::harness::*;
use crate::http::head_of;
use crate::http1_policy::{answering, ask, path, policy};
use crate::policy::nobody_called;

const PUBLIC: &str = "GET /public HTTP/1.1\r\nHost: api\r\n\r\n";
const PRIVATE: &str = "GET /private HTTP/1.1\r\nHost: api\r\n\r\n";

/// `api`, whose port is declared HTTP; only /public is admitted.
fn declared(port: u16) -> Inbound {
    let policies = vec![policy(Action::Allow, path(Pattern::Exact("/public".into())))];
    let ports = vec![PortProtocol { port, name: None, protocol: AppProtocol::Http }];
    Inbound { ports, ..inbound("api", CALLEE, policies) }
}

#[test]
fn each_request_to_a_port_of_http_is_judged() {
    let (listener, port) = program();
    answering(listener);
    let (api, tunnel, _told) = called_as(declared(port));
    let mut caller = through(&tunnel, port);
    assert_eq!([PUBLIC, PRIVATE, PUBLIC].map(|request| ask(&mut caller, request)), [200, 403, 200]);
    let line = api.log.wait(|line| line["status"] == 403);
    assert_eq!(line["source_principal"], "spiffe://cluster.local/ns/default/sa/web");
    assert_eq!((&line["verdict"], &line["path"]), (&"deny".into(), &"/private".into()));
}

#[test]
fn what_asks_nothing_on_a_port_of_http_reaches_nobody() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called_as(declared(port));
    let mut caller = through(&tunnel, port);
    assert_eq!(ask(&mut caller, "whatever it is\r\n\r\n"), 400);
    let mut caller = through(&tunnel, port);
    std::io::Write::write_all(&mut caller, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    // HTTP/2 is answered by the proxy itself, with its SETTINGS (RFC 9113, section 6.5).
    let mut frame = [0; 9];
    std::io::Read::read_exact(&mut caller, &mut frame).unwrap();
    assert_eq!(frame[3], 4, "{frame:?}");
    assert!(nobody_called(&listener));
}

#[test]
fn a_policy_that_needs_http_denies_a_port_of_undeclared_protocol() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called(vec![policy(Action::Allow, path(Pattern::Exact("/public".into())))]);
    assert_eq!(status(&tunnel, &to(SocketAddr::new(CALLEE, port))), 401);
    assert!(nobody_called(&listener));
}

#[test]
fn requests_of_a_program_pass_each_for_itself() {
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let (listener, port) = program();
        answering(listener);
        let mesh = Mesh::new();
        let (address, told) = serve(&mesh, "api", rules());
        // Declared: nobody is dialled for a client that is slow to speak, and each stream is a request's.
        mesh.registry.put(http_service(&[(CALLEE, tunnel(address))], port));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
        let mut caller = web.connect();
        assert_eq!([PUBLIC, PRIVATE].map(|request| ask(&mut caller, request)), [200, 200]);
        for _ in 0..2 {
            let stream = told.next("stream");
            assert!(stream["why"].is_null(), "{stream}");
            assert_eq!((&stream["status"], stream["violations"].as_array().unwrap().len()), (&200.into(), 0));
        }
        web.wait_metric("weft_client_handshakes_total 1");
        let line = web.log.wait(|line| line["path"] == "/private");
        assert_eq!((&line["status"], &line["destination_workload"]), (&200.into(), &"api".into()));
    }
}

#[test]
fn a_refusal_is_told_in_http() {
    let (_unused, port): (TcpListener, u16) = program();
    let friend = weft_hbone_peer::server::Rules { allow: vec![id("friend").to_string()], ..rules() };
    let (web, _told) = calling(port, Tunnel::Hbone, friend);
    let mut caller = web.connect();
    std::io::Write::write_all(&mut caller, PUBLIC.as_bytes()).unwrap();
    let head = head_of(&mut caller);
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(head.contains("weft-error: "), "{head}");
}
