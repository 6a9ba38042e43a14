//! Names of the mesh and of the outside.

use std::net::{SocketAddr, UdpSocket};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, RCODE, TYPE};

use crate::harness::*;

fn ask(web: &Proxy, name: &str, kind: TYPE) -> Vec<u8> {
    ask_at(web.dns, name, kind)
}

/// The answer, which must come from the address that was asked.
pub(crate) fn ask_at(server: SocketAddr, name: &str, kind: TYPE) -> Vec<u8> {
    let mut query = Packet::new_query(42);
    query.questions.push(Question::new(Name::new(name).unwrap(), kind.into(), CLASS::IN.into(), false));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query.build_bytes_vec().unwrap(), server).unwrap();
    let mut answer = vec![0; 512];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from, server);
    answer.truncate(length);
    answer
}

#[test]
fn names_of_the_mesh_are_answered_and_others_passed_on() {
    let (_listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    for name in ["api.default.svc.cluster.local", "api.default.svc", "api.default", "API"] {
        let answer = ask(&web, name, TYPE::A);
        let answer = Packet::parse(&answer).unwrap();
        let [record] = answer.answers.as_slice() else { panic!("{name}: {answer:?}") };
        let RData::A(a) = &record.rdata else { panic!("{name}: {record:?}") };
        assert_eq!(SERVICE, std::net::IpAddr::from(a.address.to_be_bytes()), "{name}");
    }
    let answer = ask(&web, "api.default.svc.cluster.local", TYPE::AAAA);
    let answer = Packet::parse(&answer).unwrap();
    assert_eq!((answer.rcode(), answer.answers.len()), (RCODE::NoError, 0));
    let answer = ask(&web, "nobody.default.svc.cluster.local", TYPE::A);
    assert_eq!(Packet::parse(&answer).unwrap().rcode(), RCODE::NameError);
    for name in ["www.example.com", "example.com"] {
        assert!(ask(&web, name, TYPE::A).ends_with(b"upstream"), "{name}");
    }
}

#[test]
fn an_address_of_the_mesh_has_its_services_name() {
    let (_listener, port) = program();
    let (web, _api) = Mesh::new().pair(port);
    let std::net::IpAddr::V4(v4) = SERVICE else { unreachable!("an IPv4 address") };
    let [a, b, c, d] = v4.octets();
    let answer = ask(&web, &format!("{d}.{c}.{b}.{a}.in-addr.arpa"), TYPE::PTR);
    let answer = Packet::parse(&answer).unwrap();
    let [record] = answer.answers.as_slice() else { panic!("{answer:?}") };
    let RData::PTR(name) = &record.rdata else { panic!("{record:?}") };
    assert_eq!(name.0.to_string(), "api.default.svc.cluster.local");
    // Nobody outside is asked for what only the mesh can know.
    let answer = ask(&web, "254.254.240.240.in-addr.arpa", TYPE::PTR);
    assert_eq!(Packet::parse(&answer).unwrap().rcode(), RCODE::NameError);
    assert!(ask(&web, "1.2.0.192.in-addr.arpa", TYPE::PTR).ends_with(b"upstream"));
}
