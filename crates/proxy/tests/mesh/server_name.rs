//! `connection.sni`: the name that the caller's own TLS asks for is read at the callee, where a rule
//! hangs on it, before the program sees anything; a name that can't be told closes.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};

use weft_mesh::record::{
    Action, AppProtocol, Condition, Inbound, Matches, Operation, Pattern, Policy, PortProtocol, Rule,
};
use weft_proxy::records::Update;

use crate::harness::*;
use crate::http1_policy::policy;
use crate::policy::{api, nobody_called};

fn named(action: Action, name: &str) -> Policy {
    let names = Matches { any: vec![Pattern::Exact(name.to_owned())], not: Vec::new() };
    policy(action, Rule { when: vec![Condition::Sni(names)], ..Rule::default() })
}

/// A ClientHello that asks for `name` (RFC 8446, 4.1.2; RFC 6066, 3).
fn hello(name: &str) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let names = vector(&[&[0], vector(name.as_bytes()).as_slice()].concat());
    let extensions = vector(&[&[0, 0], vector(&names).as_slice()].concat());
    let body = [&[3, 3], [7; 32].as_slice(), &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let handshake = [&[1, 0], vector(&body).as_slice()].concat();
    [&[22, 3, 1], vector(&handshake).as_slice()].concat()
}

/// The same in two records: what a server reads, and a reader of the first record doesn't.
fn split(hello: &[u8]) -> Vec<u8> {
    let record = |bytes: &[u8]| [&[22, 3, 1], (bytes.len() as u16).to_be_bytes().as_slice(), bytes].concat();
    [record(&hello[5..20]), record(&hello[20..])].concat()
}

fn is_closed(caller: &mut TcpStream, bytes: &[u8]) -> bool {
    // The reset may come before or after the write; it is told once.
    caller.write_all(bytes).is_err() || is_reset(caller)
}

#[test]
fn an_allowed_name_passes_whole_and_others_reach_nobody() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![named(Action::Allow, "pay.example")]));
    for bytes in [hello("other.example"), b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(), split(&hello("pay.example"))] {
        assert!(is_closed(&mut web.connect(), &bytes), "{bytes:?}");
    }
    let line = callee.log.wait(|line| line["verdict"] == "deny");
    assert_eq!((&line["why"], &line["bytes_received"]), (&"policy".into(), &0.into()));
    callee.wait_metric("weft_denied_total 3");
    assert!(nobody_called(&listener));

    listener.set_nonblocking(false).unwrap();
    let bytes = hello("Pay.Example.");
    let mut caller = web.connect();
    caller.write_all(&bytes).unwrap();
    let mut called = accept(&listener);
    let mut got = vec![0; bytes.len()];
    called.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
    called.write_all(b"hi").unwrap();
    caller.read_exact(&mut [0; 2]).unwrap();
    callee.tell(api(vec![named(Action::Deny, "pay.example")]));
    assert!(is_reset(&mut caller), "the name is kept, to be judged again");
}

#[test]
fn a_denied_name_is_closed_and_so_is_what_can_not_be_told() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![named(Action::Deny, "bad.example")]));
    for bytes in [hello("bad.example"), hello("BAD.example."), split(&hello("bad.example")), split(&hello("a.example"))]
    {
        assert!(is_closed(&mut web.connect(), &bytes), "{bytes:?}");
    }
    // Of who says nothing the name may still come.
    assert!(is_reset(&mut web.connect()));
    assert!(nobody_called(&listener));
    listener.set_nonblocking(false).unwrap();
    for bytes in [hello("good.example"), b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()] {
        let mut caller = web.connect();
        caller.write_all(&bytes).unwrap();
        let mut got = vec![0; bytes.len()];
        accept(&listener).read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    }
}

#[test]
fn a_server_that_speaks_first_does_not_wait_where_no_rule_hangs_on_the_name() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    let elsewhere = Operation { ports: Matches { any: vec![1], not: Vec::new() }, ..Operation::default() };
    let deny = named(Action::Deny, "bad.example");
    let rules = deny.rules.into_iter().map(|rule| Rule { to: vec![elsewhere.clone()], ..rule }).collect();
    callee.tell(api(vec![Policy { rules, ..deny }]));
    let mut caller = web.connect();
    accept(&listener).write_all(b"welcome").unwrap();
    let mut got = String::new();
    caller.read_to_string(&mut got).unwrap();
    assert_eq!(got, "welcome", "it would have been closed as unseen");
}

#[test]
fn callers_of_a_published_port_are_looked_at_likewise() {
    let (listener, port) = program();
    let callee = Mesh::new().proxy("api", CALLEE, (IpAddr::from([127, 0, 0, 1]), port).into());
    for protocol in [AppProtocol::Detect, AppProtocol::Tcp] {
        listener.set_nonblocking(false).unwrap();
        let policies = vec![named(Action::Allow, "pay.example")];
        let ports = vec![PortProtocol { port, name: None, protocol }];
        callee.tell(Update::Inbound(Box::new(Inbound { ports, ..inbound("api", CALLEE, policies) })));
        let connect = || patient(TcpStream::connect(callee.published).unwrap());
        connect().write_all(&hello("pay.example")).unwrap();
        accept(&listener).read_exact(&mut [0; 32]).unwrap();
        assert!(is_closed(&mut connect(), &hello("bad.example")), "{protocol:?}");
        assert!(nobody_called(&listener));
    }
}
