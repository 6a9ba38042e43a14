use weft_mesh::record::PortProtocol;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use super::*;
use crate::{PolicySet, snapshot};

fn workload(name: &str, service: &str, ports: &[(u16, AppProtocol)]) -> Workload {
    let port = |(port, protocol): &(u16, AppProtocol)| PortProtocol { port: *port, name: None, protocol: *protocol };
    Workload {
        id: WorkloadId::new("shop", name).unwrap(),
        identity: SpiffeId::new(&TrustDomain::default(), "shop", service).unwrap(),
        service: service.to_owned(),
        namespace: "shop".to_owned(),
        labels: [("app".to_owned(), service.to_owned())].into(),
        addresses: vec!["240.240.1.1".parse().unwrap()],
        mesh_address: Some("127.1.1.1:15008".parse().unwrap()),
        ports: ports.iter().map(port).collect(),
        ready: true,
    }
}

fn addresses() -> ServiceAddresses {
    let of = |name: &str, address: &str| (("shop".to_owned(), name.to_owned()), vec![address.parse().unwrap()]);
    [of("web", "240.240.0.1"), of("idle", "240.240.0.2")].into()
}

#[test]
fn services_gather_their_workloads() {
    let (http, tcp) = (AppProtocol::Http, AppProtocol::Tcp);
    let second = workload("web-2", "web", &[(80, http), (9, http)]);
    let first = workload("web-1", "web", &[(9, tcp), (80, http), (443, tcp)]);
    let starting = Workload { ready: false, ..workload("web-3", "web", &[(7, tcp)]) };
    let deaf = Workload { mesh_address: None, ..workload("api-1", "api", &[]) };
    let workloads = [second, starting, deaf, first];
    let found = destinations(&Settings::default(), &workloads, &addresses());
    let hosts: Vec<_> = found.iter().map(|d| (d.host.as_str(), d.addresses.len(), d.endpoints.len())).collect();
    assert_eq!(
        hosts,
        [
            ("api.shop.svc.cluster.local", 0, 0),
            ("idle.shop.svc.cluster.local", 1, 0),
            ("web.shop.svc.cluster.local", 1, 2),
        ]
    );
    let web = &found[2];
    let ports: Vec<_> = web.ports.iter().map(|p| (p.port, p.target, p.protocol)).collect();
    assert_eq!(ports, [(7, 7, tcp), (9, 9, AppProtocol::Detect), (80, 80, http), (443, 443, tcp)]);
    let endpoints: Vec<_> = web.endpoints.iter().map(|e| (e.workload.name(), e.weight)).collect();
    assert_eq!(endpoints, [("web-1", 1), ("web-2", 1)]);
    assert_eq!(web.endpoints[0].tunnel, Tunnel::Mesh("127.1.1.1:15008".parse().unwrap()));
    assert_eq!(web.undeclared, Undeclared::Forward);
}

#[test]
fn a_snapshot_holds_every_record_and_depends_on_no_order() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}}\n";
    let resources = weft_resources::parse("f", text.as_bytes()).resources;
    let settings = Settings::default();
    let (policies, _) = PolicySet::new(&settings, &resources);
    let mut workloads = vec![
        workload("web-1", "web", &[(80, AppProtocol::Http), (9, AppProtocol::Tcp)]),
        workload("api-1", "api", &[]),
    ];
    let first = snapshot(&settings, &policies, &workloads, &addresses());
    workloads.reverse();
    assert_eq!(snapshot(&settings, &policies, &workloads, &addresses()), first);
    let web = &first.inbounds[&"shop/web-1".parse().unwrap()];
    assert_eq!((web.policies.len(), web.ports[0].port, web.service.as_str()), (1, 9, "web"));
    assert_eq!(first.inbounds[&"shop/api-1".parse().unwrap()].policies.len(), 0);
    assert_eq!(first.destinations.len(), 3);
}
