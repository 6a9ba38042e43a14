//! A mesh of 10,000 pods, 1,000 services and 1,000 proxies that talk to ten services each: what it
//! holds, and whom a change concerns.

use super::*;

const SERVICES: usize = 1_000;
const PODS_EACH: usize = 10;
const PROXIES: usize = 1_000;
const CALLED_EACH: usize = 10;

#[test]
fn a_change_in_a_large_mesh_costs_those_whom_it_concerns() {
    let before = resident_bytes();
    let mut mesh = mesh();
    for pod in 0..SERVICES * PODS_EACH {
        mesh.put_workload(large_pod(pod));
    }
    for service in 0..SERVICES {
        mesh.put_service(large_service(service, PODS_EACH));
    }
    let mut streams: Vec<SubscriberId> = (0..PROXIES).map(|proxy| proxy_of(&mut mesh, proxy)).collect();
    streams.iter().for_each(|stream| drain(&mut mesh, *stream));
    mesh.woken();
    mesh.put_service(large_service(500, PODS_EACH - 1));
    let concerned = mesh.woken();
    assert_eq!(concerned.len(), CALLED_EACH, "those who call it, of all proxies");
    streams.retain(|stream| !concerned.contains(stream));
    for stream in concerned {
        assert_eq!(told(&mut mesh, stream), [name_of(500)]);
    }
    assert!(streams.iter().all(|stream| mesh.next(*stream) == Next::Wait));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "half of what the whole control plane may take, found {} MiB", grown >> 20);
}

fn name_of(service: usize) -> String {
    format!("service-{service}.shop.svc.cluster.local")
}

fn large_pod(pod: usize) -> Workload {
    let label = |key: &str| (key.to_owned(), format!("service-{}", pod / PODS_EACH));
    Workload {
        labels: ["app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "pod-template-hash", "team"]
            .map(label)
            .into(),
        addresses: vec![large_address(pod)],
        owner: Some(Owner { kind: "Deployment".to_owned(), name: format!("service-{}", pod / PODS_EACH) }),
        node: Some(format!("node-{}", pod % 100)),
        ..workload("shop", &format!("service-{}-5d4f8c7b9-x{pod}", pod / PODS_EACH))
    }
}

fn large_address(pod: usize) -> std::net::IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(pod).unwrap()).into()
}

fn large_service(service: usize, pods: usize) -> Service {
    let ports: Arc<[EndpointPortPair]> = [EndpointPortPair { port: 80, target: 8080 }].into();
    let endpoint = |pod: usize| ServiceEndpoint {
        address: large_address(pod),
        workload: Some(large_pod(pod).id),
        ports: Arc::clone(&ports),
        state: EndpointState::Ready,
    };
    let first = service * PODS_EACH;
    Service {
        name: format!("service-{service}"),
        addresses: vec![large_address(service + 0x10_0000)],
        endpoints: (first..first + pods).map(endpoint).collect(),
        ..self::service("web", &[], EndpointState::Ready)
    }
}

/// A proxy's stream: its own record, and the services that its program calls.
fn proxy_of(mesh: &mut Mesh, proxy: usize) -> SubscriberId {
    let id = large_pod(proxy * PODS_EACH).id;
    let stream = mesh.subscribe(id.clone()).unwrap();
    mesh.request(stream, ask(INBOUND_TYPE, id.as_str())).unwrap();
    for step in 0..CALLED_EACH {
        mesh.request(stream, ask(DESTINATION_TYPE, &name_of((proxy + step) % SERVICES))).unwrap();
    }
    stream
}

fn drain(mesh: &mut Mesh, stream: SubscriberId) {
    while let Next::Send(response) = mesh.next(stream) {
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        mesh.request(stream, answer).unwrap();
    }
}

/// The process's resident memory (proc_pid_statm(5), in pages).
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
