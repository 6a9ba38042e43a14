use std::collections::BTreeMap;

use weft_mesh::record::Peer;
use weft_mesh::{SpiffeId, TrustDomain};

use super::*;
use crate::{PolicySet, Proxy, inbound, workload_destination};

const HTTP: AppProtocol = AppProtocol::Http;

fn id(name: &str) -> WorkloadId {
    WorkloadId::new("shop", name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(port: u16, protocol: AppProtocol) -> PortProtocol {
    PortProtocol { port, name: None, protocol }
}

fn pod(name: &str, address: &str, proxy: Proxy) -> Workload {
    Workload {
        id: id(name),
        identity: SpiffeId::new(&TrustDomain::default(), "shop", "web").unwrap(),
        service: "web".to_owned(),
        labels: BTreeMap::new(),
        addresses: vec![ip(address)],
        proxy,
        ports: Vec::new(),
        default_inbound: None,
        owner: None,
        node: None,
    }
}

fn endpoint(workload: Option<&str>, address: &str, targets: &[(u16, u16)], state: EndpointState) -> ServiceEndpoint {
    let ports = targets.iter().map(|&(port, target)| EndpointPortPair { port, target }).collect();
    ServiceEndpoint { address: ip(address), workload: workload.map(id), ports, state }
}

fn service(endpoints: Vec<ServiceEndpoint>) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        addresses: vec![ip("10.96.0.9")],
        ports: vec![port(443, AppProtocol::Tcp), port(80, HTTP)],
        undeclared: Undeclared::Refuse,
        endpoints,
    }
}

fn compiled(service: &Service, pods: &[Workload]) -> Destination {
    destination(&Settings::default(), service, &|id| pods.iter().find(|pod| pod.id == *id))
}

/// The addresses of the endpoints that are called when they are in these states.
fn called(states: &[EndpointState]) -> Vec<usize> {
    let address = |at: usize| format!("10.0.0.{at}");
    let endpoints = states.iter().enumerate().map(|(at, state)| endpoint(None, &address(at), &[(80, 80)], *state));
    let record = compiled(&service(endpoints.collect()), &[]);
    (0..states.len()).filter(|at| record.endpoints.iter().any(|e| e.address == ip(&address(*at)))).collect()
}

#[test]
fn the_best_state_that_there_is_is_called() {
    use EndpointState::{Draining, Lost, Ready, Unready};
    assert_eq!(called(&[Ready, Unready, Draining, Lost, Ready]), [0, 4]);
    assert_eq!(called(&[Unready, Draining, Lost]), [1]);
    assert_eq!(called(&[Unready, Lost, Lost]), [1, 2]);
    assert_eq!(called(&[Unready, Unready]), [0; 0]);
    assert_eq!(called(&[]), [0; 0]);
}

#[test]
fn endpoints_are_reached_as_their_workloads_are() {
    let (listens, starts) = (pod("a", "10.0.0.1", Proxy::Port(15008)), pod("b", "10.0.0.2", Proxy::Starting));
    let (plain, elsewhere) = (pod("c", "10.0.0.3", Proxy::Absent), "127.1.1.1:15008".parse().unwrap());
    let local = pod("d", "240.240.0.4", Proxy::At(elsewhere));
    let ends = [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3"), ("d", "240.240.0.4"), ("unknown", "10.0.0.5")];
    let ready = |(name, address): (&str, &str)| endpoint(Some(name), address, &[(80, 80)], EndpointState::Ready);
    let mut endpoints: Vec<_> = ends.into_iter().map(ready).collect();
    endpoints.push(endpoint(None, "192.0.2.1", &[(80, 80)], EndpointState::Ready));
    let record = compiled(&service(endpoints), &[listens.clone(), starts, plain, local]);
    let peer =
        |address: &str| Tunnel::Mesh(Peer { address: address.parse().unwrap(), identity: listens.identity.clone() });
    let found: Vec<_> = record.endpoints.iter().map(|e| (e.address, e.tunnel.clone())).collect();
    let expected = [
        (ip("192.0.2.1"), Tunnel::Plain),
        (ip("10.0.0.1"), peer("10.0.0.1:15008")),
        (ip("10.0.0.3"), Tunnel::Plain),
        (ip("240.240.0.4"), peer("127.1.1.1:15008")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_endpoint_says_where_its_ports_differ() {
    use EndpointState::Ready;
    let record = compiled(
        &service(vec![
            endpoint(None, "10.0.0.1", &[(80, 8080), (443, 8443)], Ready),
            endpoint(None, "10.0.0.2", &[(80, 8081), (443, 8443)], Ready),
            endpoint(None, "10.0.0.3", &[(80, 8080)], Ready),
        ]),
        &[],
    );
    let ports: Vec<_> = record.ports.iter().map(|p| (p.port, p.target, p.protocol)).collect();
    assert_eq!(ports, [(80, 8080, HTTP), (443, 8443, AppProtocol::Tcp)]);
    let own: Vec<Vec<_>> =
        record.endpoints.iter().map(|e| record.ports.iter().map(|p| e.target(*p)).collect::<Vec<_>>()).collect();
    assert_eq!(own, [[Some(8080), Some(8443)], [Some(8081), Some(8443)], [Some(8080), None]]);
    assert_eq!(record.endpoints[0].ports, []);
    assert_eq!((record.host.as_str(), record.undeclared), ("web.shop.svc.cluster.local", Undeclared::Refuse));
}

#[test]
fn a_workload_is_called_by_each_of_its_addresses() {
    let both = Workload { addresses: vec![ip("10.0.0.1"), ip("fd00::1")], ..pod("a", "10.0.0.1", Proxy::Port(15008)) };
    let record = workload_destination(&both, &[]);
    assert_eq!((record.host.as_str(), &record.addresses), ("shop/a", &both.addresses));
    let ends: Vec<_> = record.endpoints.iter().map(|e| e.tunnel.peer().unwrap().address.to_string()).collect();
    assert_eq!(ends, ["10.0.0.1:15008", "[fd00::1]:15008"]);
    assert_eq!(record.port(4000).unwrap().target, 4000);
    let starting = Workload { proxy: Proxy::Starting, ..both };
    assert_eq!(workload_destination(&starting, &[]).endpoints, []);
}

#[test]
fn services_say_what_their_workloads_speak() {
    let (policies, _) = PolicySet::new(&Settings::default(), &[]);
    let own = Workload {
        ports: vec![port(9000, AppProtocol::Detect), port(25, AppProtocol::Tcp)],
        ..pod("a", "10.0.0.1", Proxy::Absent)
    };
    let service = |protocol, targets| Service {
        ports: vec![port(80, protocol)],
        ..service(vec![endpoint(Some("a"), "10.0.0.1", targets, EndpointState::Ready)])
    };
    let said = |services: &[&Service]| -> Vec<_> {
        let ports = inbound(&policies, &own, services).ports;
        ports.iter().map(|p| (p.port, p.protocol)).collect()
    };
    let (http, grpc) = (service(HTTP, &[(80, 9000)]), service(AppProtocol::Grpc, &[(80, 9000)]));
    assert_eq!(said(&[&http]), [(25, AppProtocol::Tcp), (9000, HTTP)]);
    assert_eq!(said(&[&http, &grpc])[1], (9000, AppProtocol::Detect), "they disagree");
    assert_eq!(said(&[&service(HTTP, &[(80, 25)])])[0], (25, AppProtocol::Tcp), "its own word counts first");
    assert_eq!(said(&[&service(AppProtocol::Detect, &[(80, 9)])]).len(), 2);
    assert_eq!(workload_destination(&own, &[&http]).port(9000).unwrap().protocol, HTTP);
}
