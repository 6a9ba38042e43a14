use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use weft_compile::Settings;
use weft_wire::proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use weft_wire::record::{DESTINATION_TYPE, Record};

use super::*;
use crate::distribute::{Next, SubscriberId};

#[test]
fn a_launched_workload_is_named_and_becomes_an_endpoint_when_ready() {
    let mut plane = plane();
    let (launch, workload) = launch(&mut plane, "web").unwrap();
    assert_eq!(workload.id.as_str(), "default/web-aaaaa");
    assert_eq!(workload.identity.as_str(), "spiffe://cluster.local/ns/default/sa/web");
    assert!(plane.unsaved());
    let id = plane.mesh.subscribe(workload.id.clone()).unwrap();
    plane.mesh.request(id, ask(DESTINATION_TYPE, "web.default.svc.cluster.local")).unwrap();
    assert_eq!(endpoints(&sent(&mut plane, id)), 0);
    plane.now_ready(&workload.id, LaunchId(99));
    assert_eq!((plane.mesh.woken(), plane.unsaved()), (BTreeSet::new(), false), "another stream says nothing");
    plane.now_ready(&workload.id, launch);
    assert_eq!((plane.mesh.woken(), plane.unsaved()), ([id].into(), true));
    assert_eq!(endpoints(&sent(&mut plane, id)), 1);
}

#[test]
fn replicas_of_one_service_have_their_own_names_and_addresses() {
    let mut plane = plane();
    let (_, first) = launch(&mut plane, "web").unwrap();
    let (_, second) = launch(&mut plane, "web").unwrap();
    assert_eq!(second.id.as_str(), "default/web-bbbbb");
    assert!(first.addresses != second.addresses && first.host != second.host);
    assert_eq!(launch(&mut plane, "web").unwrap_err(), LaunchError::Suffix);
    assert_eq!(plane.workloads().count(), 2);
}

#[test]
fn a_workload_leaves_with_the_stream_that_keeps_it() {
    let mut plane = plane();
    let (launch_id, workload) = launch(&mut plane, "web").unwrap();
    let id = plane.mesh.subscribe(workload.id.clone()).unwrap();
    plane.stream_ends(&workload.id, LaunchId(99));
    assert_eq!(plane.workloads().count(), 1);
    plane.stream_ends(&workload.id, launch_id);
    assert_eq!(plane.workloads().count(), 0);
    assert!(plane.by_token(workload.token.secret()).is_none());
    assert!(plane.mesh.woken().contains(&id));
    assert_eq!(plane.mesh.next(id), Next::End);
    assert_eq!(launch(&mut plane, "web").unwrap().1.host, workload.host, "its addresses are free again");
}

#[test]
fn after_a_restart_workloads_wait_for_their_launchers() {
    let mut before = plane();
    let (launch_id, workload) = launch(&mut before, "web").unwrap();
    before.now_ready(&workload.id, launch_id);
    let mut plane = restarted(&before);
    assert_eq!(plane.by_token(workload.token.secret()).unwrap().launch, None);
    let id = plane.mesh.subscribe(workload.id.clone()).unwrap();
    plane.mesh.request(id, ask(DESTINATION_TYPE, "web.default.svc.cluster.local")).unwrap();
    assert_eq!(endpoints(&sent(&mut plane, id)), 1, "it is still an endpoint");

    let (_, resumed) = resume(&mut plane, &workload, "web").unwrap();
    assert_eq!((&resumed.id, resumed.addresses, resumed.host), (&workload.id, workload.addresses, workload.host));
    assert_eq!(resumed.readiness, Readiness::Ready);
    assert_eq!(plane.grace_ends(), []);

    let mut plane = restarted(&before);
    assert_eq!(plane.grace_ends(), std::slice::from_ref(&workload.id));
    assert_eq!(plane.workloads().count(), 0);
    let (_, resumed) = resume(&mut plane, &workload, "web").unwrap();
    assert_eq!(resumed.id, workload.id, "late, but nobody took its place");
    assert_eq!(resumed.readiness, Readiness::Starting);
}

#[test]
fn a_launcher_that_comes_back_early_outlives_its_old_stream() {
    let mut plane = plane();
    let (old, workload) = launch(&mut plane, "web").unwrap();
    let (new, _) = resume(&mut plane, &workload, "web").unwrap();
    plane.stream_ends(&workload.id, old);
    assert_eq!(plane.workloads().count(), 1);
    plane.stream_ends(&workload.id, new);
    assert_eq!(plane.workloads().count(), 0);
}

#[test]
fn nobody_resumes_what_is_anothers() {
    let mut plane = plane();
    let (_, workload) = launch(&mut plane, "web").unwrap();
    let refused = |plane: &mut Rig, workload: &Registration, name| {
        let error = resume(plane, workload, name).unwrap_err();
        assert!(matches!(error, LaunchError::Resume(_)), "{error}");
    };
    refused(&mut plane, &Registration { token: Token::from("y".repeat(64).as_str()), ..workload.clone() }, "web");
    refused(&mut plane, &Registration { id: "default/web-other".parse().unwrap(), ..workload.clone() }, "web");
    refused(&mut plane, &workload, "api");
    let stranger = Registration {
        id: "default/web-other".parse().unwrap(),
        token: Token::from("y".repeat(64).as_str()),
        ..workload.clone()
    };
    let error = resume(&mut plane, &stranger, "web").unwrap_err();
    assert!(matches!(error, LaunchError::Address(NoAddress::Taken(_))), "{error}");
    assert_eq!(plane.by_token(workload.token.secret()), plane.workloads().next());
    assert_eq!(plane.workloads().count(), 1);
}

/// One machine's plane with its mesh.
struct Rig {
    plane: Plane,
    mesh: Mesh,
}

impl Rig {
    fn new(addresses: Addresses, workloads: Vec<Registration>) -> Self {
        let mut mesh = Mesh::new(Settings::default());
        let plane = Plane::new(TrustDomain::default(), addresses, workloads, &mut mesh);
        mesh.woken();
        Self { plane, mesh }
    }

    fn now_ready(&mut self, id: &WorkloadId, launch: LaunchId) {
        self.plane.note(id, (launch, Readiness::Ready), &mut self.mesh);
    }

    fn stream_ends(&mut self, id: &WorkloadId, launch: LaunchId) {
        self.plane.end(id, launch, &mut self.mesh);
    }

    fn grace_ends(&mut self) -> Vec<WorkloadId> {
        self.plane.end_grace(&mut self.mesh)
    }
}

impl Deref for Rig {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Plane {
        &mut self.plane
    }
}

fn plane() -> Rig {
    Rig::new(Addresses::default(), Vec::new())
}

/// What the next control plane makes of the state that this one left.
fn restarted(plane: &Rig) -> Rig {
    let stored = plane.workloads().map(crate::messages::stored);
    let workloads = stored.map(|message| crate::messages::restored(message).unwrap()).collect();
    Rig::new(plane.addresses().clone(), workloads)
}

fn launch(plane: &mut Rig, name: &str) -> Result<(LaunchId, Registration), LaunchError> {
    launch_as(plane, name, None)
}

fn resume(plane: &mut Rig, workload: &Registration, name: &str) -> Result<(LaunchId, Registration), LaunchError> {
    launch_as(plane, name, Some(crate::messages::assigned(workload)))
}

fn launch_as(
    plane: &mut Rig,
    name: &str,
    resume: Option<proto::Assigned>,
) -> Result<(LaunchId, Registration), LaunchError> {
    let token = format!("{:064}", plane.last_launch);
    let suffixes = ["aaaaa".to_owned(), "bbbbb".to_owned()];
    let host = Host { suffixes: &suffixes, token: Token::from(token.as_str()), is_free: &|_| true, now: 1 };
    let workload = proto::WorkloadSpec { name: name.to_owned(), ..proto::WorkloadSpec::default() };
    plane.plane.launch(LaunchAsk { workload, resume, readiness: None }, &host, &mut plane.mesh)
}

fn ask(type_url: &str, name: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: vec![name.to_owned()],
        ..DeltaDiscoveryRequest::default()
    }
}

fn sent(plane: &mut Rig, id: SubscriberId) -> DeltaDiscoveryResponse {
    let Next::Send(response) = plane.mesh.next(id) else { panic!("expected a response, found none") };
    response
}

fn endpoints(response: &DeltaDiscoveryResponse) -> usize {
    let any = response.resources[0].resource.as_ref().unwrap();
    match Record::decode(&any.type_url, &any.value).unwrap() {
        Record::Destination(destination) => destination.endpoints.len(),
        other => panic!("expected a destination, found {other:?}"),
    }
}
