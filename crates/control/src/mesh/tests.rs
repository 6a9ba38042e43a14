use std::sync::Arc;

use weft_compile::{DefaultInbound, EndpointPortPair, EndpointState, Owner};
use weft_mesh::record::{AppProtocol, MtlsMode, PortProtocol, Undeclared};
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE};

use super::*;

mod property;
mod scale;

const WEB: &str = "web.shop.svc.cluster.local";

#[test]
fn a_change_of_one_endpoint_wakes_only_those_who_use_it() {
    let mut mesh = mesh();
    for (service, pods) in [("web", ["web-1", "web-2"]), ("api", ["api-3", "api-4"])] {
        pods.iter().for_each(|pod| mesh.put_workload(workload("shop", pod)));
        mesh.put_service(self::service(service, &pods, EndpointState::Ready));
    }
    let (web, api) = (asks(&mut mesh, WEB), asks(&mut mesh, "api.shop.svc.cluster.local"));
    let pod = asks(&mut mesh, "10.0.0.1");
    assert_eq!(told(&mut mesh, pod), ["shop/web-1"]);
    told(&mut mesh, web);
    told(&mut mesh, api);
    mesh.put_service(service("web", &["web-1"], EndpointState::Ready));
    assert_eq!(mesh.woken(), [web].into());
    mesh.put_workload(Workload { proxy: Proxy::Starting, ..workload("shop", "web-1") });
    assert_eq!(mesh.woken(), [web, pod].into(), "it can't be called for a while");
    mesh.put_workload(Workload { proxy: Proxy::Starting, ..workload("shop", "web-1") });
    assert_eq!(mesh.woken(), [].into(), "nothing has changed");
}

#[test]
fn whatever_comes_first_the_records_are_the_same() {
    let (pods, service) = (
        ["web-1", "web-2"].map(|pod| workload("shop", pod)),
        service("web", &["web-1", "web-2"], EndpointState::Ready),
    );
    let mut one = mesh();
    pods.iter().for_each(|pod| one.put_workload(pod.clone()));
    one.put_service(service.clone());
    let mut other = mesh();
    other.put_service(service);
    pods.iter().rev().for_each(|pod| other.put_workload(pod.clone()));
    for name in [WEB, "shop/web-1", "shop/web-2"] {
        assert_eq!(record(&mut one, name), record(&mut other, name), "{name}");
        assert!(record(&mut one, name).is_some());
    }
    let Some(Record::Destination(web)) = record(&mut one, WEB) else { panic!("expected the service") };
    assert_eq!(web.endpoints.len(), 2);
    for name in ["web-1", "web-2"] {
        let id = WorkloadId::new("shop", name).unwrap();
        assert_eq!(one.inbound(&id).unwrap().ports, other.inbound(&id).unwrap().ports);
        assert_eq!(one.inbound(&id).unwrap().ports[0].protocol, AppProtocol::Http, "its service says so");
    }
}

#[test]
fn a_workload_has_an_inbound_record_as_long_as_it_has_a_proxy() {
    let mut mesh = mesh();
    let id = WorkloadId::new("shop", "web-1").unwrap();
    let version = |mesh: &mut Mesh, proxy| {
        mesh.put_workload(Workload { proxy, ..workload("shop", "web-1") });
        mesh.standing(&id).inbound_version
    };
    assert_eq!(version(&mut mesh, Proxy::Absent), "");
    assert!(mesh.inbound(&id).is_some(), "people may ask what it would be");
    let published = version(&mut mesh, Proxy::Starting);
    assert_ne!(published, "");
    assert_eq!(version(&mut mesh, Proxy::Port(15008)), published, "wherever it listens");
    assert_eq!(version(&mut mesh, Proxy::Absent), "");
}

#[test]
fn what_goes_leaves_nothing_behind() {
    let mut mesh = mesh();
    mesh.put_workload(workload("shop", "web-1"));
    mesh.put_service(service("web", &["web-1"], EndpointState::Ready));
    let id = WorkloadId::new("shop", "web-1").unwrap();
    let stream = mesh.subscribe(id.clone()).unwrap();
    mesh.woken();
    mesh.remove_workload(&id);
    assert!(mesh.woken().contains(&stream));
    assert_eq!(mesh.next(stream), Next::End);
    let Some(Record::Destination(web)) = record(&mut mesh, WEB) else { panic!("expected the service") };
    assert_eq!(web.endpoints, [], "nobody could say how it is called");
    assert_eq!((record(&mut mesh, "shop/web-1"), mesh.inbound(&id)), (None, None));
    mesh.remove_service("shop", "web");
    assert_eq!(record(&mut mesh, WEB), None);
    assert_eq!((mesh.memberships.len(), mesh.services().count()), (0, 0));
}

#[test]
fn a_service_that_gives_a_workload_up_says_nothing_more_of_its_ports() {
    let mut mesh = mesh();
    mesh.put_workload(workload("shop", "web-1"));
    let id = WorkloadId::new("shop", "web-1").unwrap();
    mesh.put_service(service("web", &["web-1"], EndpointState::Unready));
    assert_eq!(mesh.inbound(&id).unwrap().ports.len(), 1, "ready or not");
    mesh.put_service(service("web", &[], EndpointState::Ready));
    assert_eq!(mesh.inbound(&id).unwrap().ports, []);
    assert!(matches!(record(&mut mesh, "shop/web-1"), Some(Record::Destination(own)) if own.ports.is_empty()));
}

#[test]
fn a_policy_concerns_the_namespaces_that_it_can_select() {
    let mut mesh = mesh();
    let ids: Vec<WorkloadId> = ["shop/web-1", "other/web-1"].map(|id| id.parse().unwrap()).into();
    let streams: Vec<SubscriberId> = ids
        .iter()
        .map(|id| {
            mesh.put_workload(workload(id.namespace(), id.name()));
            let stream = mesh.subscribe(id.clone()).unwrap();
            mesh.request(stream, ask(INBOUND_TYPE, id.as_str())).unwrap();
            told(&mut mesh, stream);
            stream
        })
        .collect();
    mesh.woken();
    let (shop, root) = (strict("shop", "STRICT"), strict("istio-system", "STRICT"));
    let steps: [(String, &[SubscriberId]); 5] = [
        (shop.clone(), &streams[..1]),
        (shop.clone(), &[]),
        (format!("{shop}---\n{root}"), &streams[1..]),
        (format!("{}---\n{root}", strict("shop", "PERMISSIVE")), &streams[..1]),
        (String::new(), &streams),
    ];
    for (text, concerned) in steps {
        let parsed = weft_resources::parse("a.yaml", text.as_bytes());
        mesh.replace_policies(parsed.resources, parsed.problems);
        assert_eq!(mesh.woken(), concerned.iter().copied().collect(), "{text}");
        streams.iter().for_each(|stream| while matches!(mesh.next(*stream), Next::Send(_)) {});
    }
}

#[test]
fn where_two_have_one_name_their_order_counts() {
    let mut mesh = mesh();
    mesh.put_workload(workload("shop", "web-1"));
    let id: WorkloadId = "shop/web-1".parse().unwrap();
    let parse = |file: &str, mode: &str| weft_resources::parse(file, strict("shop", mode).as_bytes()).resources;
    let both = |first: Vec<Resource>, second: Vec<Resource>| first.into_iter().chain(second).collect::<Vec<_>>();
    let (strict, disable) = (parse("a.yaml", "STRICT"), parse("b.yaml", "DISABLE"));
    for resources in [both(strict.clone(), disable.clone()), both(disable, strict)] {
        mesh.replace_policies(resources.clone(), Vec::new());
        let (fresh, _) = PolicySet::new(mesh.settings(), &resources);
        let expected = weft_compile::inbound(&fresh, mesh.workload(&id).unwrap(), &[]);
        let stream = mesh.subscribe(id.clone()).unwrap();
        mesh.request(stream, ask(INBOUND_TYPE, id.as_str())).unwrap();
        assert_eq!(sent(&mut mesh, stream), [Record::Inbound(expected)]);
    }
}

#[test]
fn a_default_inbound_policy_is_one_more_policy() {
    let mut mesh = mesh();
    let default_inbound = Some(DefaultInbound::AllAuthenticated);
    mesh.put_workload(Workload { default_inbound, ..workload("shop", "web-1") });
    let record = mesh.inbound(&"shop/web-1".parse().unwrap()).unwrap();
    assert_eq!(record.policies.len(), 1);
    assert_eq!(record.peer_authentication.default.mode, MtlsMode::Permissive);
}

#[test]
fn targets_are_found_by_app_replica_owner_and_labels() {
    let mut mesh = mesh();
    let owner = Some(Owner { kind: "Deployment".to_owned(), name: "frontend".to_owned() });
    for pod in ["web-1", "web-2"] {
        let labels = [("app".to_owned(), "web".to_owned())].into();
        mesh.put_workload(Workload {
            owner: owner.clone(),
            labels,
            service: "shop-web".to_owned(),
            ..workload("shop", pod)
        });
    }
    let found = |target: &str| mesh.inbounds(target).map(|records| records.len());
    assert_eq!(found("shop/web"), Ok(2));
    assert_eq!(found("shop/web-2"), Ok(1));
    assert_eq!(found("shop/frontend"), Ok(2));
    assert_eq!(found("shop/shop-web"), Ok(2));
    assert_eq!(found("shop/app=web"), Ok(2));
    assert!(matches!(found("shop/app=web,tier=x"), Err(TargetError::Nobody(_))));
    assert!(matches!(found("other/web"), Err(TargetError::Nobody(_))));
    assert!(matches!(found("web"), Err(TargetError::Form(_))));
    assert!(matches!(found("shop/app=web,x"), Err(TargetError::Form(_))));
    let long = "x".repeat(300);
    assert!(matches!(found(&long), Err(TargetError::Form(shown)) if shown == long[..200]));
    assert!(matches!(found(&format!("s/{long}")), Err(TargetError::Nobody(shown)) if shown.len() == 200));
}

fn mesh() -> Mesh {
    Mesh::new(Settings::default())
}

fn strict(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: default, namespace: {namespace}}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

/// A pod; its address ends with the digit that its name ends with.
fn workload(namespace: &str, name: &str) -> Workload {
    Workload {
        id: WorkloadId::new(namespace, name).unwrap(),
        identity: format!("spiffe://cluster.local/ns/{namespace}/sa/default").parse().unwrap(),
        service: "web".to_owned(),
        labels: BTreeMap::new(),
        addresses: vec![format!("10.0.0.{}", &name[name.len() - 1..]).parse().unwrap()],
        proxy: Proxy::Port(15008),
        ports: Vec::new(),
        default_inbound: None,
        owner: None,
        node: None,
    }
}

fn service(name: &str, pods: &[&str], state: EndpointState) -> Service {
    let ports: Arc<[EndpointPortPair]> = [EndpointPortPair { port: 80, target: 8080 }].into();
    let endpoint = |pod: &&str| {
        let Workload { id, addresses, .. } = workload("shop", pod);
        ServiceEndpoint { address: addresses[0], workload: Some(id), ports: Arc::clone(&ports), state }
    };
    Service {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: vec![format!("10.96.0.{}", name.len()).parse().unwrap()],
        ports: vec![PortProtocol { port: 80, name: None, protocol: AppProtocol::Http }],
        undeclared: Undeclared::Refuse,
        endpoints: pods.iter().map(endpoint).collect(),
    }
}

fn ask(type_url: &str, name: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: vec![name.to_owned()],
        ..DeltaDiscoveryRequest::default()
    }
}

/// A new stream that asks for a destination.
fn asks(mesh: &mut Mesh, name: &str) -> SubscriberId {
    let asker = format!("default/asks-{}", name.replace('/', "."));
    let stream = mesh.subscribe(asker.parse().unwrap()).unwrap();
    mesh.request(stream, ask(DESTINATION_TYPE, name)).unwrap();
    mesh.woken();
    stream
}

/// The records of the next response.
fn sent(mesh: &mut Mesh, stream: SubscriberId) -> Vec<Record> {
    let Next::Send(response) = mesh.next(stream) else { panic!("expected a response, found none") };
    let resources = response.resources.into_iter().filter_map(|resource| resource.resource);
    resources.map(|any| Record::decode(&any.type_url, &any.value).unwrap()).collect()
}

/// The names of the records in the next response.
fn told(mesh: &mut Mesh, stream: SubscriberId) -> Vec<String> {
    sent(mesh, stream).iter().map(|record| record.name().to_owned()).collect()
}

/// A destination as whoever asks anew gets it.
fn record(mesh: &mut Mesh, name: &str) -> Option<Record> {
    let stream = asks(mesh, name);
    let record = sent(mesh, stream).pop();
    mesh.unsubscribe(stream);
    record
}
