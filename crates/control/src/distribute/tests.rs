use weft_mesh::record::{Destination, Inbound, PeerAuthentication, Trust, Undeclared};
use weft_wire::proto::google::rpc::Status;

use super::*;

const WEB: &str = "web.default.svc.cluster.local";
const API: &str = "api.default.svc.cluster.local";

#[test]
fn what_is_asked_for_is_sent_once() {
    let mut mesh = Distribution::default();
    mesh.publish(&destination("web", &["240.240.1.1"]));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &[WEB])).unwrap();
    let response = sent(&mut mesh, id);
    assert_eq!(names(&response), [WEB]);
    assert_eq!(response.resources[0].aliases, ["240.240.1.1"]);
    let any = response.resources[0].resource.as_ref().unwrap();
    assert_eq!(Record::decode(&any.type_url, &any.value).unwrap(), destination("web", &["240.240.1.1"]));
    assert_eq!(mesh.next(id), Next::Wait);
    assert!(mesh.publish(&destination("web", &["240.240.1.1"])).is_empty(), "nothing changed");
}

#[test]
fn an_alias_finds_its_record() {
    let mut mesh = Distribution::default();
    mesh.publish(&destination("web", &["240.240.1.1", "240.240.7.7"]));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &["240.240.7.7", "240.240.1.1"])).unwrap();
    assert_eq!(names(&sent(&mut mesh, id)), [WEB], "one record, however often it is named");
    assert_eq!(mesh.next(id), Next::Wait);
}

#[test]
fn an_unknown_name_is_answered_and_sent_when_it_appears() {
    let mut mesh = Distribution::default();
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &["240.240.1.1"])).unwrap();
    assert_eq!(sent(&mut mesh, id).removed_resources, ["240.240.1.1"]);
    assert_eq!(mesh.publish(&destination("api", &["240.240.1.2"])), BTreeSet::new(), "it concerns nobody");
    assert_eq!(mesh.publish(&destination("web", &["240.240.1.1"])), BTreeSet::from([id]));
    assert_eq!(names(&sent(&mut mesh, id)), [WEB]);
    assert_eq!(mesh.withdraw(Kind::Destination, WEB), BTreeSet::from([id]));
    assert_eq!(sent(&mut mesh, id).removed_resources, ["240.240.1.1", WEB]);
}

#[test]
fn an_address_that_moves_takes_its_askers_along() {
    let mut mesh = Distribution::default();
    mesh.publish(&destination("web", &["240.240.1.1", "240.240.7.7"]));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &["240.240.7.7"])).unwrap();
    sent(&mut mesh, id);
    mesh.publish(&destination("web", &["240.240.1.1"]));
    mesh.publish(&destination("api", &["240.240.1.2", "240.240.7.7"]));
    let response = sent(&mut mesh, id);
    assert_eq!((names(&response), response.removed_resources.clone()), (vec![API], vec![WEB.to_owned()]));
    mesh.request(id, ask(DESTINATION_TYPE, &["240.240.1.1"])).unwrap();
    assert_eq!(names(&sent(&mut mesh, id)), [WEB]);
}

#[test]
fn changes_merge_while_a_subscriber_is_slow() {
    let mut mesh = Distribution::default();
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &[WEB, API])).unwrap();
    sent(&mut mesh, id);
    for last in 1..50 {
        mesh.publish(&destination("web", &[&format!("240.240.1.{last}")]));
        mesh.publish(&destination("api", &[&format!("240.240.2.{last}")]));
    }
    let response = sent(&mut mesh, id);
    assert_eq!(names(&response), [API, WEB]);
    assert_eq!(response.resources[1].aliases, ["240.240.1.49"]);
    assert_eq!(mesh.next(id), Next::Wait);
}

#[test]
fn who_answers_nothing_is_sent_a_bounded_number_of_responses() {
    let mut mesh = Distribution::default();
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &[WEB])).unwrap();
    let mut last = String::new();
    let mut count = 0;
    while let Next::Send(response) = mesh.next(id) {
        (last, count) = (response.nonce, count + 1);
        mesh.publish(&destination("web", &[&format!("240.240.1.{count}")]));
    }
    assert_eq!(count, 8);
    mesh.request(id, DeltaDiscoveryRequest { response_nonce: last, ..ask(DESTINATION_TYPE, &[]) }).unwrap();
    assert_eq!(sent(&mut mesh, id).resources[0].aliases, ["240.240.1.8"]);
}

#[test]
fn who_comes_back_gets_only_the_differences() {
    let mut mesh = Distribution::default();
    for (name, address) in [("web", "240.240.1.1"), ("api", "240.240.1.2"), ("db", "240.240.1.3")] {
        mesh.publish(&destination(name, &[address]));
    }
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &["240.240.1.1", API])).unwrap();
    let response = sent(&mut mesh, id);
    let mut held: HashMap<_, _> = response.resources.into_iter().map(|r| (r.name, r.version)).collect();
    held.insert("gone.default.svc.cluster.local".to_owned(), "1".to_owned());
    mesh.unsubscribe(id);
    mesh.publish(&destination("api", &["240.240.1.9"]));

    let id = subscriber(&mut mesh);
    let request = ask(DESTINATION_TYPE, &["240.240.1.1", API]);
    mesh.request(id, DeltaDiscoveryRequest { initial_resource_versions: held, ..request }).unwrap();
    let response = sent(&mut mesh, id);
    assert_eq!(names(&response), [API]);
    assert_eq!(response.removed_resources, ["gone.default.svc.cluster.local"]);
    assert_eq!(mesh.next(id), Next::Wait);
}

#[test]
fn who_asks_again_is_answered_again() {
    let mut mesh = Distribution::default();
    mesh.publish(&destination("web", &["240.240.1.1"]));
    let id = subscriber(&mut mesh);
    for _ in 0..2 {
        mesh.request(id, ask(DESTINATION_TYPE, &[WEB])).unwrap();
        assert_eq!(names(&sent(&mut mesh, id)), [WEB]);
        mesh.request(id, ask(DESTINATION_TYPE, &["other"])).unwrap();
        assert_eq!(sent(&mut mesh, id).removed_resources, ["other"]);
    }
}

#[test]
fn what_was_given_up_is_no_longer_sent() {
    let mut mesh = Distribution::default();
    mesh.publish(&destination("web", &["240.240.1.1"]));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(DESTINATION_TYPE, &[WEB, "240.240.1.1"])).unwrap();
    sent(&mut mesh, id);
    let give_up = |name: &str| DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec![name.to_owned()],
        ..ask(DESTINATION_TYPE, &[])
    };
    mesh.request(id, give_up("240.240.1.1")).unwrap();
    mesh.publish(&destination("web", &["240.240.1.1", "240.240.7.7"]));
    assert_eq!(names(&sent(&mut mesh, id)), [WEB], "it is still asked for by name");
    mesh.request(id, give_up(WEB)).unwrap();
    assert!(mesh.publish(&destination("web", &["240.240.1.2"])).is_empty());
    assert_eq!(mesh.next(id), Next::Wait);
    assert!(mesh.interest.is_empty());
}

#[test]
fn refusals_are_kept_until_a_newer_record_is_accepted() {
    let mut mesh = Distribution::default();
    mesh.publish(&trust(1));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(TRUST_TYPE, &["trust"])).unwrap();
    let nonce = sent(&mut mesh, id).nonce;
    let error_detail = Some(Status { code: 3, message: "anchors[0]: no".to_owned(), details: Vec::new() });
    let refusal = DeltaDiscoveryRequest { response_nonce: nonce, error_detail, ..ask(TRUST_TYPE, &[]) };
    mesh.request(id, refusal.clone()).unwrap();
    let expected = Refusal { workload: own(), record: "trust".to_owned(), reason: "anchors[0]: no".to_owned() };
    assert_eq!(mesh.refusals(), [expected]);
    assert_eq!(mesh.next(id), Next::Wait, "the same record isn't sent again");
    mesh.request(id, refusal).unwrap();
    mesh.publish(&trust(2));
    let nonce = sent(&mut mesh, id).nonce;
    mesh.request(id, DeltaDiscoveryRequest { response_nonce: nonce, ..ask(TRUST_TYPE, &[]) }).unwrap();
    assert_eq!(mesh.refusals(), []);
}

#[test]
fn only_its_own_inbound_record_is_a_proxys_business() {
    let mut mesh = Distribution::default();
    mesh.publish(&inbound("default/web-1"));
    let id = subscriber(&mut mesh);
    let foreign = "default/web-2".to_owned();
    let refused = mesh.request(id, ask(INBOUND_TYPE, &["default/web-1", "default/web-2"]));
    assert_eq!(refused, Err(RequestError::Foreign(foreign)));
    assert_eq!(mesh.next(id), Next::Wait, "a refused request leads to nothing");
    mesh.request(id, ask(INBOUND_TYPE, &["default/web-1"])).unwrap();
    assert_eq!(names(&sent(&mut mesh, id)), ["default/web-1"]);
}

#[test]
fn a_proxy_is_current_once_it_has_acknowledged_the_newest() {
    let named = |service: &str| match inbound("default/web-1") {
        Record::Inbound(inbound) => Record::Inbound(Inbound { service: service.to_owned(), ..inbound }),
        other => other,
    };
    let mut mesh = Distribution::default();
    mesh.publish(&named("web"));
    let id = subscriber(&mut mesh);
    assert_eq!(mesh.current(), BTreeSet::new(), "it has asked for nothing");
    mesh.request(id, ask(INBOUND_TYPE, &["default/web-1"])).unwrap();
    assert_eq!(mesh.current(), BTreeSet::new(), "nothing was sent");
    let acknowledge = |mesh: &mut Distribution, error_detail: Option<Status>| {
        let nonce = sent(mesh, id).nonce;
        assert_eq!(mesh.current(), BTreeSet::new(), "it is on its way");
        mesh.request(id, DeltaDiscoveryRequest { response_nonce: nonce, error_detail, ..ask(INBOUND_TYPE, &[]) })
            .unwrap();
    };
    acknowledge(&mut mesh, None);
    assert_eq!(mesh.current(), BTreeSet::from([own()]));
    mesh.publish(&named("other"));
    assert_eq!(mesh.current(), BTreeSet::new(), "there is a newer one");
    acknowledge(&mut mesh, Some(Status { message: "é".repeat(600), ..Status::default() }));
    assert_eq!(mesh.current(), BTreeSet::new(), "it was refused");
    assert_eq!(mesh.refusals()[0].reason.chars().count(), 512, "so much of why is kept");
    mesh.publish(&named("third"));
    acknowledge(&mut mesh, None);
    assert_eq!(mesh.current(), BTreeSet::from([own()]));
    mesh.unsubscribe(id);
    assert_eq!(mesh.current(), BTreeSet::new(), "it has gone");
}

#[test]
fn requests_are_bounded() {
    let mut mesh = Distribution::default();
    let id = subscriber(&mut mesh);
    assert!(matches!(mesh.request(id, ask("type/x", &[])), Err(RequestError::Type(_))));
    let many: Vec<String> = (0..MAX_NAMES).map(|number| number.to_string()).collect();
    let request = DeltaDiscoveryRequest { resource_names_subscribe: many, ..ask(DESTINATION_TYPE, &[]) };
    mesh.request(id, request).unwrap();
    assert_eq!(mesh.request(id, ask(DESTINATION_TYPE, &["one-more"])), Err(RequestError::TooMany));
    let long = "x".repeat(513);
    assert_eq!(mesh.request(id, ask(TRUST_TYPE, &[&long])), Err(RequestError::TooMany));
    assert_eq!(mesh.request(id, ask(TRUST_TYPE, &[&long[1..]])), Ok(()));
    for _ in 1..MAX_STREAMS {
        subscriber(&mut mesh);
    }
    assert_eq!(mesh.subscribe(own()), Err(RequestError::Streams));
    mesh.unsubscribe(id);
    assert!(mesh.interest.is_empty());
    subscriber(&mut mesh);
}

#[test]
fn a_record_is_followed_until_it_is_acknowledged() {
    let mut mesh = Distribution::default();
    let standing = |mesh: &Distribution| {
        let Standing { streams, unacknowledged, inbound, .. } = mesh.standing(&own());
        (streams, unacknowledged, inbound)
    };
    assert_eq!(standing(&mesh), (0, 0, Delivery::Unsent));
    mesh.publish(&inbound("default/web-1"));
    let id = subscriber(&mut mesh);
    mesh.request(id, ask(INBOUND_TYPE, &["default/web-1"])).unwrap();
    assert_eq!(standing(&mesh), (1, 0, Delivery::Unsent));
    let answer = |mesh: &mut Distribution, error_detail: Option<Status>| {
        let response_nonce = sent(mesh, id).nonce;
        assert_eq!(standing(mesh), (1, 1, Delivery::Sent));
        mesh.request(id, DeltaDiscoveryRequest { response_nonce, error_detail, ..ask(INBOUND_TYPE, &[]) }).unwrap();
        standing(mesh)
    };
    assert_eq!(answer(&mut mesh, None), (1, 0, Delivery::Acknowledged));
    let renamed = |service: &str| {
        let Record::Inbound(inbound) = inbound("default/web-1") else { unreachable!() };
        Record::Inbound(Inbound { service: service.to_owned(), ..inbound })
    };
    mesh.publish(&renamed("other"));
    assert_eq!(standing(&mesh), (1, 0, Delivery::Unsent), "it runs an older one");
    assert_eq!(answer(&mut mesh, Some(Status::default())), (1, 0, Delivery::Refused));
    mesh.publish(&renamed("better"));
    assert_eq!(answer(&mut mesh, None), (1, 0, Delivery::Acknowledged));
    let behind = subscriber(&mut mesh);
    assert_eq!(standing(&mesh), (2, 0, Delivery::Acknowledged), "the furthest counts");
    mesh.unsubscribe(id);
    mesh.unsubscribe(behind);
    assert_eq!(standing(&mesh), (0, 0, Delivery::Unsent));
}

#[test]
fn streams_end_with_their_workload() {
    let mut mesh = Distribution::default();
    let id = subscriber(&mut mesh);
    let other = mesh.subscribe("default/other-1".parse().unwrap()).unwrap();
    assert_eq!(mesh.end(&own()), BTreeSet::from([id]));
    assert_eq!((mesh.next(id), mesh.next(other)), (Next::End, Next::Wait));
    assert_eq!(mesh.request(id, ask(TRUST_TYPE, &[])), Err(RequestError::Ended));
}

#[test]
fn large_answers_come_in_parts() {
    let mut mesh = Distribution::default();
    let names: Vec<String> = (0..4).map(|number| format!("s{number}.default.svc.cluster.local")).collect();
    for number in 0..4 {
        let mut record = destination(&format!("s{number}"), &["240.240.1.1"]);
        let Record::Destination(inner) = &mut record else { unreachable!() };
        inner.service = "x".repeat(MAX_RESPONSE / 2);
        mesh.publish(&record);
    }
    let id = subscriber(&mut mesh);
    let request = DeltaDiscoveryRequest { resource_names_subscribe: names, ..ask(DESTINATION_TYPE, &[]) };
    mesh.request(id, request).unwrap();
    assert_eq!(sent(&mut mesh, id).resources.len(), 2);
    assert_eq!(sent(&mut mesh, id).resources.len(), 2);
    assert_eq!(mesh.next(id), Next::Wait);
}

const MAX_RESPONSE: usize = 1 << 20;

fn own() -> WorkloadId {
    "default/web-1".parse().unwrap()
}

fn subscriber(mesh: &mut Distribution) -> SubscriberId {
    mesh.subscribe(own()).unwrap()
}

fn ask(type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: names.iter().map(|&name| name.to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// The next response; it stays unanswered.
fn sent(mesh: &mut Distribution, id: SubscriberId) -> DeltaDiscoveryResponse {
    let Next::Send(response) = mesh.next(id) else { panic!("expected a response, found none") };
    response
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

fn destination(service: &str, addresses: &[&str]) -> Record {
    Record::Destination(Destination {
        host: format!("{service}.default.svc.cluster.local"),
        service: service.to_owned(),
        namespace: "default".to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ports: Vec::new(),
        undeclared: Undeclared::Forward,
        endpoints: Vec::new(),
    })
}

fn inbound(workload: &str) -> Record {
    Record::Inbound(Inbound {
        workload: workload.parse().unwrap(),
        identity: "spiffe://cluster.local/ns/default/sa/web".parse().unwrap(),
        service: "web".to_owned(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication: PeerAuthentication::default(),
        policies: Vec::new(),
    })
}

fn trust(anchor: u8) -> Record {
    Record::Trust(Trust { anchors: vec![vec![anchor]], ..Trust::default() })
}
