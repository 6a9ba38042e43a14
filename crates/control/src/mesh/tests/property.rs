//! Whatever happened on the way, the records are those of a mesh that was filled at once with what is
//! there now, and whoever followed all along holds what a newcomer gets.

use proptest::prelude::*;

use super::*;

/// Something that a registry tells.
#[derive(Debug, Clone)]
enum Event {
    Workload(usize, Proxy),
    NoWorkload(usize),
    Service(usize, Vec<(usize, EndpointState)>),
    NoService(usize),
    Policies(Vec<(usize, usize)>),
}

const PODS: [&str; 4] = ["pod-1", "pod-2", "pod-3", "pod-4"];
const SERVICES: [&str; 3] = ["a", "bb", "ccc"];
const NAMESPACES: [&str; 3] = ["shop", "other", "istio-system"];
const MODES: [&str; 3] = ["STRICT", "PERMISSIVE", "DISABLE"];

fn event() -> impl Strategy<Value = Event> {
    let proxy = prop_oneof![Just(Proxy::Absent), Just(Proxy::Starting), Just(Proxy::Port(15008))];
    let state = prop_oneof![
        Just(EndpointState::Ready),
        Just(EndpointState::Draining),
        Just(EndpointState::Lost),
        Just(EndpointState::Unready)
    ];
    let endpoints = prop::collection::vec((0..PODS.len(), state), 0..4);
    let policies = prop::collection::vec((0..NAMESPACES.len(), 0..MODES.len()), 0..4);
    prop_oneof![
        (0..PODS.len(), proxy).prop_map(|(pod, proxy)| Event::Workload(pod, proxy)),
        (0..PODS.len()).prop_map(Event::NoWorkload),
        (0..SERVICES.len(), endpoints).prop_map(|(service, endpoints)| Event::Service(service, endpoints)),
        (0..SERVICES.len()).prop_map(Event::NoService),
        policies.prop_map(Event::Policies),
    ]
}

/// What is there after some events.
#[derive(Default)]
struct Now {
    workloads: BTreeMap<usize, Workload>,
    services: BTreeMap<usize, Service>,
    policies: Vec<Resource>,
}

impl Now {
    fn take(&mut self, event: Event, mesh: &mut Mesh) {
        match event {
            Event::Workload(pod, proxy) => {
                let workload = Workload { proxy, ..workload("shop", PODS[pod]) };
                mesh.put_workload(workload.clone());
                self.workloads.insert(pod, workload);
            }
            Event::NoWorkload(pod) => {
                mesh.remove_workload(&workload("shop", PODS[pod]).id);
                self.workloads.remove(&pod);
            }
            Event::Service(name, endpoints) => {
                let made = endpoints.iter().map(|(pod, state)| service(SERVICES[name], &[PODS[*pod]], *state));
                let endpoints = made.flat_map(|service| service.endpoints).collect();
                let service = Service { endpoints, ..service(SERVICES[name], &[], EndpointState::Ready) };
                mesh.put_service(service.clone());
                self.services.insert(name, service);
            }
            Event::NoService(name) => {
                mesh.remove_service("shop", SERVICES[name]);
                self.services.remove(&name);
            }
            Event::Policies(policies) => {
                let parse = |(at, (namespace, mode)): (usize, &(usize, usize))| {
                    let text = strict(NAMESPACES[*namespace], MODES[*mode]);
                    weft_resources::parse(&format!("{at}.yaml"), text.as_bytes()).resources
                };
                self.policies = policies.iter().enumerate().flat_map(parse).collect();
                mesh.replace_policies(self.policies.clone(), Vec::new());
            }
        }
    }

    /// A mesh that was never anything else.
    fn fresh(&self) -> Mesh {
        let mut mesh = mesh();
        mesh.replace_policies(self.policies.clone(), Vec::new());
        self.workloads.values().for_each(|workload| mesh.put_workload(workload.clone()));
        self.services.values().for_each(|service| mesh.put_service(service.clone()));
        mesh
    }
}

/// Every name that can be asked for.
fn names() -> Vec<String> {
    let pods = PODS.iter().flat_map(|pod| [format!("shop/{pod}"), workload("shop", pod).addresses[0].to_string()]);
    let services = SERVICES.iter().map(|name| format!("{name}.shop.svc.cluster.local"));
    pods.chain(services).collect()
}

/// What a stream was told, by the records' names.
#[derive(Default)]
struct Held(BTreeMap<String, Record>);

impl Held {
    fn follow(&mut self, mesh: &mut Mesh, stream: SubscriberId) {
        while let Next::Send(response) = mesh.next(stream) {
            response.removed_resources.iter().for_each(|name| drop(self.0.remove(name)));
            for any in response.resources.iter().filter_map(|resource| resource.resource.as_ref()) {
                let record = Record::decode(&any.type_url, &any.value).unwrap();
                self.0.insert(record.name().to_owned(), record);
            }
            let answer = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            };
            mesh.request(stream, answer).unwrap();
        }
    }
}

fn follower(mesh: &mut Mesh) -> SubscriberId {
    let stream = mesh.subscribe("default/follower-1".parse().unwrap()).unwrap();
    for name in names() {
        mesh.request(stream, ask(DESTINATION_TYPE, &name)).unwrap();
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_way_leaves_no_trace(events in prop::collection::vec(event(), 1..24)) {
        let (mut mesh, mut now, mut held) = (mesh(), Now::default(), Held::default());
        let stream = follower(&mut mesh);
        for event in events {
            now.take(event, &mut mesh);
            held.follow(&mut mesh, stream);
        }
        let (mut fresh, mut expected) = (now.fresh(), Held::default());
        let newcomer = follower(&mut fresh);
        expected.follow(&mut fresh, newcomer);
        prop_assert_eq!(&held.0, &expected.0);
        for id in now.workloads.values().map(|workload| &workload.id) {
            prop_assert_eq!(mesh.inbound(id), fresh.inbound(id));
            prop_assert_eq!(mesh.standing(id).inbound_version, fresh.standing(id).inbound_version, "published");
        }
        prop_assert_eq!(mesh.memberships, fresh.memberships);
    }
}
