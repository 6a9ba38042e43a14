//! Policy decides at the callee, before a byte reaches the program, and again when it changes.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};

use weft_mesh::record::{
    Action, Enforcement, Inbound, Matches, MtlsMode, Origin, Pattern, PeerAuthentication, Policy, Rule, Scoped, Source,
};
use weft_proxy::records::Update;

use crate::harness::*;

pub(crate) fn allow_only(account: &str) -> Policy {
    let principal = Pattern::Exact(id(account).principal().to_owned());
    let principals = Matches { any: vec![principal], not: Vec::new() };
    let source = Source { principals, ..Default::default() };
    let origin = Origin { namespace: "default".into(), name: "api-policy".into(), file: "mesh.yaml".into(), line: 3 };
    let rules = vec![Rule { index: 0, line: 9, from: vec![source], ..Default::default() }];
    Policy { origin, action: Action::Allow, enforcement: Enforcement::Enforced, rules, defect: None }
}

pub(crate) fn api(policies: Vec<Policy>) -> Update {
    Update::Inbound(Box::new(inbound("api", CALLEE, policies)))
}

pub(crate) fn nobody_called(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_denied_caller_reaches_nobody() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![allow_only("checkout")]));
    let mut caller = web.connect();
    // The reset may come before or after the write; it is told once.
    let early = caller.write_all(b"let me in");
    assert!(early.is_err() || is_reset(&mut caller));
    let line = callee.log.wait(|line| line["verdict"] == "deny");
    assert_eq!((&line["why"], &line["flag"]), (&"policy".into(), &"DENY".into()));
    assert_eq!(line["source_principal"], "spiffe://cluster.local/ns/default/sa/web");
    // The caller's side learns that it was policy, and nothing of the rules.
    let line = web.log.wait(|line| line["why"] == "policy");
    assert!(!line.to_string().contains("api-policy"), "{line}");
    assert!(nobody_called(&listener));
    callee.wait_metric("weft_denied_total 1");
}

#[test]
fn an_admitted_caller_passes() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![allow_only("web")]));
    let mut caller = web.connect();
    accept(&listener).write_all(b"welcome").unwrap();
    let mut got = String::new();
    caller.read_to_string(&mut got).unwrap();
    assert_eq!(got, "welcome");
}

#[test]
fn a_change_of_policy_closes_what_it_forbids() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    let mut caller = web.connect();
    let mut called = accept(&listener);
    called.write_all(b"x").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    callee.tell(api(vec![allow_only("web")]));
    called.write_all(b"y").unwrap();
    caller.read_exact(&mut [0]).unwrap();
    callee.tell(api(vec![allow_only("checkout")]));
    assert!(is_reset(&mut caller));
    assert!(is_reset(&mut called));
    let line = callee.log.wait(|line| line["why"] == "policy-changed");
    assert_eq!((&line["verdict"], &line["bytes_sent"]), (&"deny".into(), &2.into()));
}

#[test]
fn a_plain_caller_is_judged_without_identity() {
    let (listener, port) = program();
    let mesh = Mesh::new();
    let callee = mesh.proxy("api", CALLEE, (IpAddr::from([127, 0, 0, 1]), port).into());
    let mut caller = patient(TcpStream::connect(callee.published).unwrap());
    accept(&listener).write_all(b"hello").unwrap();
    caller.read_exact(&mut [0; 5]).unwrap();
    drop(caller);
    let line = callee.log.wait(|line| line["bytes_sent"] == 5);
    assert!(line["source_principal"].is_null(), "{line}");

    let strict = Scoped { mode: MtlsMode::Strict, origin: None };
    let peer_authentication = PeerAuthentication { default: strict, ports: Default::default() };
    let strict = Inbound { peer_authentication, ..inbound("api", CALLEE, Vec::new()) };
    callee.tell(Update::Inbound(Box::new(strict)));
    assert!(is_reset(&mut patient(TcpStream::connect(callee.published).unwrap())));
    callee.log.wait(|line| line["verdict"] == "deny");
    assert!(nobody_called(&listener));
}
