//! What ztunnel says and does, point by point, where it differs from other peers: the fields of its
//! CONNECT, its key exchanges, its windows, and who it is.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};

use weft_hbone_peer::client::Head;
use weft_hbone_peer::server::Rules;
use weft_hbone_peer::tls;

use super::callee::{called, status};
use super::caller::{calling, rules};
use super::peer::{PEERS, connect, connect_by, files, serve_by, to};
use crate::harness::*;
use crate::http::{read_to_end, whole_both_ways};
use crate::policy::{allow_only, nobody_called};

const OWN6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd77, 0x6566, 0x7400, 0, 0, 0, 0xf0f0, 2));

/// A CONNECT as ztunnel words it.
fn worded(authority: SocketAddr, forwarded: &str) -> Head {
    let baggage = "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=web,service.name=web,\
                   service.version=v1,cloud.region=r,cloud.availability_zone=z";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let fields = [("baggage", baggage), ("forwarded", forwarded), ("traceparent", trace)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Head { authority: authority.to_string(), fields }
}

/// Opens a stream and ends it at both sides, which has it logged.
fn open_and_end(tunnel: &weft_hbone_peer::client::Tunnel, head: &Head, listener: &std::net::TcpListener) {
    let mut opened = PEERS.block_on(tunnel.open(head)).unwrap();
    assert_eq!(opened.status.as_u16(), 200);
    let mut halves = opened.halves.take().unwrap();
    let mut callee = accept(listener);
    halves.send.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(read_to_end(&mut callee), b"");
    drop(callee);
    while let Some(last) = PEERS.block_on(halves.recv.data()) {
        assert!(last.unwrap().is_empty());
    }
}

#[test]
fn the_service_that_a_caller_names_is_logged_and_nothing_more() {
    let (listener, port) = program();
    let (api, tunnel, _told) = called(Vec::new());
    let own = SocketAddr::new(CALLEE, port);
    let named = "for=\"10.0.0.1:40000\";host=api.default.svc.cluster.local";
    open_and_end(&tunnel, &worded(own, named), &listener);
    let line = api.log.wait(|line| line["authority"] == "api.default.svc.cluster.local");
    assert_eq!((&line["verdict"], &line["flag"]), (&"allow".into(), &"-".into()));
    // Who calls is who TCP and TLS say, not who `for` says.
    assert!(line["source_address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert_eq!(line["source_workload"], "web");
    for forged in ["host=a,host=b", "host=\"a\\\"b\"", "for=x;host=a;host=b", "host=a b", "gibberish"] {
        open_and_end(&tunnel, &worded(own, forged), &listener);
    }
    api.wait_metrics(|page| page.contains("weft_inbound_connections 1\n"));
}

#[test]
fn a_forged_field_opens_nothing() {
    let (listener, port) = program();
    let (api, tunnel, _told) = called(vec![allow_only("checkout")]);
    let own = SocketAddr::new(CALLEE, port);
    for forged in [
        "for=\"240.240.1.1:1\";host=api.default.svc.cluster.local",
        "for=checkout;by=\"spiffe://cluster.local/ns/default/sa/checkout\"",
    ] {
        assert_eq!(status(&tunnel, &worded(own, forged)), 401);
    }
    assert!(nobody_called(&listener));
    let line = api.log.wait(|line| line["verdict"] == "deny");
    assert_eq!(line["source_principal"], "spiffe://cluster.local/ns/default/sa/web");
}

#[test]
fn names_have_no_port_here_and_are_told_so_as_ztunnel_does() {
    let (listener, port) = program();
    let (_api, tunnel, _told) = called(Vec::new());
    for name in ["api.default.svc.cluster.local", "elsewhere.example"] {
        assert_eq!(status(&tunnel, &to(format!("{name}:{port}"))), 503);
    }
    for malformed in ["api.default.svc.cluster.local:0", "240.240.1.256:80"] {
        assert_eq!(status(&tunnel, &to(malformed)), 400);
    }
    assert!(nobody_called(&listener));
}

#[test]
fn an_address_of_ipv6_is_called_and_calls() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", OWN6, SocketAddr::new(SERVICE, 1));
    let (tunnel, _told) = connect(&mesh, "web", api.mesh, "api").unwrap();
    open_and_end(&tunnel, &to(format!("[{OWN6}]:{port}")), &listener);
    assert_eq!(status(&tunnel, &to(format!("[::1]:{port}"))), 400);
    assert_eq!(status(&tunnel, &to(format!("[::ffff:240.240.1.2]:{port}"))), 400);

    let (address, told) = super::peer::serve(&mesh, "api", Rules { destinations: vec![OWN6], ..rules() });
    mesh.registry.put(service("api", &[(OWN6, Tunnel::Hbone(address))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    drop((web.connect(), accept(&listener)));
    let stream = told.next("stream");
    assert_eq!((&stream["authority"], &stream["status"]), (&format!("[{OWN6}]:{port}").into(), &200.into()));
    assert_eq!(stream["violations"], serde_json::json!([]));
}

#[test]
fn a_caller_says_which_service_was_called() {
    let (listener, port) = program();
    // The service's own address, and the workload's.
    for (called, service) in [(SERVICE, ";host=api.default.svc.cluster.local"), (CALLEE, "")] {
        let mesh = Mesh::new();
        let (address, told) = super::peer::serve(&mesh, "api", rules());
        mesh.registry.put(crate::harness::service("api", &[(CALLEE, Tunnel::Hbone(address))]));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(called, port));
        let caller = web.connect();
        let own = caller.local_addr().unwrap();
        drop((caller, accept(&listener)));
        let stream = told.next("stream");
        assert_eq!(stream["forwarded"], format!("for=\"{own}\"{service}"));
        assert_eq!(stream["violations"], serde_json::json!([]));
    }
}

#[test]
fn a_peer_that_knows_p256_only_is_understood_both_ways() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let (_folder, web_files) = files(&mesh, id("web").as_str());
    let config = tls::fips_client(&web_files, vec![id("api").to_string()]).unwrap();
    let (tunnel, told) = connect_by(config, api.mesh).unwrap();
    open_and_end(&tunnel, &to(SocketAddr::new(CALLEE, port)), &listener);
    assert_eq!(told.next("connection")["tls"]["group"], "secp256r1");

    // Whether the record says so, or only ALPN; either begins with a group that this peer asks to change.
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let mesh = Mesh::new();
        let (_folder, api_files) = files(&mesh, id("api").as_str());
        let (address, told) = serve_by(tls::fips_server(&api_files).unwrap(), rules());
        mesh.registry.put(service("api", &[(CALLEE, tunnel(address))]));
        let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
        let (mut caller, mut callee) = (web.connect(), accept(&listener));
        caller.write_all(b"ping").unwrap();
        callee.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(told.next("connection")["tls"]["group"], "secp256r1");
    }
}

#[test]
fn a_caller_of_another_trust_domain_is_refused() {
    let (listener, _port) = program();
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    let (_folder, files) = files(&mesh, "spiffe://other.example/ns/default/sa/web");
    let config = tls::client(&files, vec![id("api").to_string()]).unwrap();
    // In TLS 1.3 the client learns of it after its own handshake.
    if let Ok((tunnel, _told)) = connect_by(config, api.mesh) {
        assert!(PEERS.block_on(tunnel.open(&to(SocketAddr::new(CALLEE, 1)))).is_err());
    }
    api.wait_metric("weft_failed_handshakes_total 1\n");
    assert!(nobody_called(&listener));
}

#[test]
fn a_server_of_another_trust_domain_is_refused() {
    let mesh = Mesh::new();
    let (_folder, files) = files(&mesh, "spiffe://other.example/ns/default/sa/api");
    let (address, _told) = serve_by(tls::server(&files).unwrap(), rules());
    mesh.registry.put(service("api", &[(CALLEE, Tunnel::Hbone(address))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    assert!(is_reset(&mut web.connect()));
    let line = web.log.wait(|line| line["why"] == "identity");
    assert!(line["detail"].as_str().unwrap().contains("spiffe://other.example/ns/default/sa/api"), "{line}");
}

#[test]
fn sixty_four_mebibytes_pass_each_way_at_once() {
    let (listener, port) = program();
    let (web, _told) = calling(port, Tunnel::Hbone, rules());
    let (caller, callee) = (web.connect(), accept(&listener));
    whole_both_ways(&caller, &callee, 64 << 20);
}

#[test]
fn a_server_that_speaks_first_is_heard_on_a_port_of_undeclared_protocol() {
    let (listener, port) = program();
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let (web, _told) = calling(port, tunnel, rules());
        let (mut caller, mut callee) = (web.connect(), accept(&listener));
        callee.write_all(b"220 ready\r\n").unwrap();
        let mut greeting = [0; 11];
        caller.read_exact(&mut greeting).unwrap();
        caller.write_all(b"EHLO\r\n").unwrap();
        callee.read_exact(&mut [0; 6]).unwrap();
    }
}

#[test]
fn a_caller_s_settings_are_ztunnel_s() {
    let (listener, port) = program();
    let (mut web, told) = calling(port, Tunnel::Hbone, rules());
    drop((web.connect(), accept(&listener)));
    told.next("stream");
    web.begin_stop();
    web.join();
    let closed = told.next("connection-closed");
    for (name, value) in [
        ("enable_push", 0),
        ("initial_window_size", 4 << 20),
        ("max_frame_size", 1 << 20),
        ("max_header_list_size", 16 << 10),
    ] {
        assert_eq!(closed["settings"][name], value, "{closed}");
    }
    assert_eq!((&closed["violations"], &closed["why"]), (&serde_json::json!([]), &serde_json::Value::Null));
}
