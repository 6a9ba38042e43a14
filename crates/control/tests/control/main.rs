//! The control plane as launchers and proxies meet it: over its Unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

#[path = "../../../../tests/clock.rs"]
mod clock;
mod flood;
mod folder;
mod harness;
mod network;
mod peers;
mod telemetry;
mod waits;

use std::fs;
use std::time::SystemTime;

use harness::{Mesh, config, soon, with_token};
use nix::sys::resource::{Resource, setrlimit};
use tonic::Code;
use weft_control::{ControlError, ControlPlane, StoreError};
use weft_identity::{Credential, LeafKey};
use weft_mesh::SpiffeId;
use weft_mesh::record::{MtlsMode, Tunnel};
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::google::rpc::Status as RpcStatus;
use weft_wire::proto::istio::v1::auth::IstioCertificateRequest;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::launch_event::Event;
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_TYPE};

const WEB: &str = "web.default.svc.cluster.local";
const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
    metadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
const DISABLE: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
    metadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: DISABLE}}\n";
const BROKEN: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
    metadata: {name: default, namespace: istio-system\nspec: {mtls: {mode: DISABLE}}\n";

#[tokio::test]
async fn a_workload_becomes_an_endpoint_and_leaves_with_its_launcher() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let assigned = &web.assigned;
    assert!(assigned.workload.starts_with("default/web-"), "{assigned:?}");
    assert_eq!(assigned.identity, "spiffe://cluster.local/ns/default/sa/web");
    assert_eq!(assigned.nameserver, [240, 240, 0, 53]);
    assert_eq!(assigned.search, ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
    let caller = mesh.launch("caller").await;
    let mut proxy = mesh.subscribe(&caller.assigned.token).await.unwrap();

    proxy.ask(DESTINATION_TYPE, &[WEB]).await;
    let destination = proxy.destination().await;
    assert_eq!(destination.endpoints, []);
    let address = destination.addresses[0].to_string();
    proxy.ask(DESTINATION_TYPE, &[&address]).await;
    assert_eq!(proxy.destination().await, destination, "by address it is the same");

    web.ready().await;
    let endpoint = &proxy.destination().await.endpoints[0];
    let Tunnel::Mesh(peer) = &endpoint.tunnel else { panic!("expected a tunnel, found {endpoint:?}") };
    assert_eq!(peer.identity.as_str(), assigned.identity);
    assert!(peer.address.ip().is_loopback() && peer.address.port() == 15008);
    proxy.ask(DESTINATION_TYPE, &[&endpoint.address.to_string()]).await;
    assert_eq!(proxy.destination().await.host, assigned.workload, "its own address finds it alone");

    let mut web_proxy = mesh.subscribe(&assigned.token).await.unwrap();
    drop(web);
    assert_eq!(proxy.destination().await.endpoints, []);
    assert_eq!(web_proxy.response().await.unwrap_err().code(), Code::Unauthenticated);
    mesh.end().await;
}

#[tokio::test]
async fn a_proxy_is_certified_as_what_its_token_says() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
    proxy.ask(TRUST_TYPE, &["trust"]).await;
    let Record::Trust(trust) = proxy.record().await else { panic!("expected trust") };
    assert_eq!(trust.anchors.len(), 1);
    assert!(trust.is_outside("203.0.113.7".parse().unwrap()) && !trust.is_outside("240.240.9.9".parse().unwrap()));

    let own: SpiffeId = web.assigned.identity.parse().unwrap();
    let other: SpiffeId = "spiffe://cluster.local/ns/default/sa/bank".parse().unwrap();
    let mut client = IstioCertificateServiceClient::new(mesh.channel().await);
    let key = LeafKey::generate().unwrap();
    let csr = |id: &SpiffeId| IstioCertificateRequest { csr: key.csr_pem(id).unwrap(), validity_duration: 60 };
    let request = with_token(csr(&own), &web.assigned.token);
    let chain = soon(client.create_certificate(request)).await.unwrap().into_inner().cert_chain;
    let refused = soon(client.create_certificate(with_token(csr(&other), &web.assigned.token))).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    for token in ["", "0000", &"0".repeat(64)] {
        let refused = soon(client.create_certificate(with_token(csr(&own), token))).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
    let now = SystemTime::now();
    let credential = Credential::new(key, &chain, now).unwrap();
    assert_eq!(*credential.id(), own);
    assert_eq!(credential.chain()[0].subject, "O=web, CN=web");
    assert!(credential.not_after() <= now + std::time::Duration::from_secs(61), "the shorter life counts");
    mesh.end().await;
}

#[tokio::test]
async fn an_edited_policy_reaches_the_proxy_and_a_broken_one_does_not() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
    proxy.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Permissive);
    mesh.edit("a.yaml", STRICT);
    let default = proxy.inbound().await.peer_authentication.default;
    assert_eq!(default.mode, MtlsMode::Strict);
    assert_eq!(default.origin.unwrap().file, "a.yaml");
    assert_eq!(mesh.status().await.problems, [] as [String; 0]);

    mesh.edit("a.yaml", BROKEN);
    // A second file in a new folder follows, so that its effect shows that the first was looked at.
    let sub = mesh.dir.path().join("manifests/sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("b.yaml"), STRICT.replace("istio-system", "default")).unwrap();
    let authentication = proxy.inbound().await.peer_authentication;
    assert_eq!(authentication.default.mode, MtlsMode::Strict, "the last good one stays in force");
    assert_eq!(authentication.default.origin.unwrap().file, "sub/b.yaml");
    fs::remove_dir_all(&sub).unwrap();
    let default = proxy.inbound().await.peer_authentication.default;
    assert_eq!((default.mode, default.origin.unwrap().file.as_str()), (MtlsMode::Strict, "a.yaml"));
    let problems = mesh.status().await.problems;
    assert!(problems.len() == 1 && problems[0].starts_with("a.yaml:"), "{problems:?}");

    mesh.edit("a.yaml", DISABLE);
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Disable);
    fs::remove_file(mesh.dir.path().join("manifests/a.yaml")).unwrap();
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Permissive);
    let target = proto::GetInboundRequest { target: "default/web".to_owned() };
    let records = soon(mesh.control().await.get_inbound(target)).await.unwrap().into_inner().records;
    assert_eq!(records.len(), 1);
    mesh.end().await;
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told_to_people() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
    proxy.ask(DESTINATION_TYPE, &["nobody.default.svc.cluster.local"]).await;
    assert_eq!(proxy.response().await.unwrap().removed_resources, ["nobody.default.svc.cluster.local"]);
    proxy.ask(TRUST_TYPE, &["trust"]).await;
    let nonce = proxy.response().await.unwrap().nonce;
    let reason = "anchors[0]: expected a root".to_owned();
    proxy
        .send(DeltaDiscoveryRequest {
            type_url: TRUST_TYPE.to_owned(),
            response_nonce: nonce,
            error_detail: Some(RpcStatus { code: 3, message: reason, details: Vec::new() }),
            ..Default::default()
        })
        .await;
    // The answer to a later question shows that the refusal was read.
    proxy.ask(DESTINATION_TYPE, &[WEB]).await;
    proxy.destination().await;
    let expected =
        format!("the proxy of {} refused the record trust: anchors[0]: expected a root", web.assigned.workload);
    assert_eq!(mesh.status().await.problems, [expected]);
    mesh.end().await;
}

#[tokio::test]
async fn nobody_gets_records_that_are_not_his() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    let caller = mesh.launch("caller").await;
    let refused = mesh.subscribe("0000").await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::Unauthenticated));
    let mut proxy = mesh.subscribe(&caller.assigned.token).await.unwrap();
    proxy.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    assert_eq!(proxy.response().await.unwrap_err().code(), Code::PermissionDenied);
    let listed = soon(mesh.control().await.list_workloads(proto::ListWorkloadsRequest {})).await.unwrap().into_inner();
    assert_eq!(listed.workloads.len(), 2);
    assert!(listed.workloads.iter().all(|workload| workload.assigned.as_ref().unwrap().token.is_empty()));
    mesh.end().await;
}

#[tokio::test]
async fn a_second_control_plane_on_one_state_folder_is_refused() {
    let mesh = Mesh::start();
    match ControlPlane::open(config(&mesh.dir)) {
        Err(ControlError::Store(error @ StoreError::Locked { pid, .. })) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        }
        other => panic!("expected a refusal, found {:?}", other.err()),
    }
    mesh.status().await;
    let dir = mesh.end().await;
    assert!(!config(&dir).socket.exists());
    Mesh::start_in(dir).end().await;
}

#[tokio::test]
async fn workloads_outlive_the_control_plane() {
    let mesh = Mesh::start();
    let mut web = mesh.launch("web").await;
    let caller = mesh.launch("caller").await;
    web.ready().await;
    let mut proxy = mesh.subscribe(&caller.assigned.token).await.unwrap();
    proxy.ask(DESTINATION_TYPE, &[WEB]).await;
    while proxy.destination().await.endpoints.is_empty() {}
    let dir = mesh.end().await;
    assert_eq!(web.event().await, None);
    proxy.response().await.unwrap_err();

    let mesh = Mesh::start_in(dir);
    let mut proxy = mesh.subscribe(&caller.assigned.token).await.unwrap();
    proxy.ask(DESTINATION_TYPE, &[WEB]).await;
    let destination = proxy.destination().await;
    assert_eq!(destination.endpoints.len(), 1, "it is still called");
    let state = async |mesh: &Mesh| {
        let mut client = mesh.control().await;
        let listed = soon(client.list_workloads(proto::ListWorkloadsRequest {})).await.unwrap().into_inner();
        let of_web = listed.workloads.iter().find(|w| w.spec.as_ref().unwrap().name == "web");
        of_web.map(proto::Workload::state)
    };
    assert_eq!(state(&mesh).await, Some(proto::WorkloadState::Unconfirmed));

    let again = proto::LaunchRequest {
        workload: Some(proto::WorkloadSpec { name: "web".to_owned(), ..Default::default() }),
        resume: Some(web.assigned.clone()),
        ready: true,
        unready: false,
    };
    let resumed = mesh.launch_as(again.clone()).await.unwrap();
    assert_eq!(resumed.assigned, web.assigned);
    assert_eq!(state(&mesh).await, Some(proto::WorkloadState::Ready));
    let mut stolen = again;
    stolen.resume.as_mut().unwrap().token = "0".repeat(64);
    assert_eq!(mesh.launch_as(stolen).await.err().map(|status| status.code()), Some(Code::FailedPrecondition));
    drop(resumed);
    assert_eq!(proxy.destination().await.endpoints, []);
    mesh.end().await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_a_launcher_knows() {
    let mesh = Mesh::start_apart().await;
    let web = mesh.launch("web").await;
    let dir = mesh.kill().await;
    assert!(config(&dir).socket.exists(), "left behind");
    let mesh = Mesh::start_in(dir);
    let again = proto::LaunchRequest {
        workload: Some(proto::WorkloadSpec { name: "web".to_owned(), ..Default::default() }),
        resume: Some(web.assigned.clone()),
        ready: true,
        unready: false,
    };
    let resumed = mesh.launch_as(again).await.unwrap();
    assert_eq!(resumed.assigned, web.assigned);
    let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
    proxy.ask(DESTINATION_TYPE, &[WEB]).await;
    assert_eq!(proxy.destination().await.endpoints.len(), 1);
    mesh.end().await;
}

/// The control plane of the test above, until it is killed.
#[tokio::test]
#[ignore = "the other test's control plane"]
async fn serves() {
    let config = harness::config_in(std::env::var_os(harness::FOLDER).unwrap().as_ref());
    let files = std::env::var(harness::FILES).unwrap().parse().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, files, files).unwrap();
    weft_control::serve(config, std::future::pending()).await.unwrap();
}

#[tokio::test]
async fn who_does_not_come_back_is_removed_after_the_grace() {
    let mesh = Mesh::start();
    let web = mesh.launch("web").await;
    web.ready().await;
    let dir = mesh.end().await;
    let control = ControlPlane::open(weft_control::Config { resume_grace: std::time::Duration::ZERO, ..config(&dir) });
    let (stop, asked) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(control.unwrap().run(async { asked.await.unwrap_or_default() }));
    let endpoint = format!("unix:{}", config(&dir).socket.display());
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut client = proto::control_client::ControlClient::new(channel);
    soon(async {
        loop {
            let listed = client.list_workloads(proto::ListWorkloadsRequest {}).await.unwrap().into_inner();
            if listed.workloads.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop.send(()).unwrap();
    soon(task).await.unwrap().unwrap();
}

#[tokio::test]
async fn workloads_are_asked_to_stop_before_the_end() {
    let mesh = Mesh::start();
    let mut web = mesh.launch("web").await;
    let mut client = mesh.control().await;
    soon(client.shutdown(proto::ShutdownRequest { stop_workloads: true })).await.unwrap();
    assert!(matches!(web.event().await, Some(Event::Stop(_))));
    let late = proto::LaunchRequest { workload: Some(Default::default()), ..Default::default() };
    assert_eq!(mesh.launch_as(late).await.err().map(|status| status.code()), Some(Code::Unavailable));
    drop(web);
    let dir = mesh.ended().await;
    assert_eq!(Mesh::start_in(dir).status().await.problems, [] as [String; 0]);
}

#[tokio::test]
async fn what_is_no_workload_is_refused() {
    let mesh = Mesh::start();
    let code = async |first| mesh.launch_as(first).await.err().map(|status| status.code());
    assert_eq!(code(proto::LaunchRequest::default()).await, Some(Code::InvalidArgument));
    let workload = Some(proto::WorkloadSpec { name: "Not A Name".to_owned(), ..Default::default() });
    assert_eq!(code(proto::LaunchRequest { workload, ..Default::default() }).await, Some(Code::InvalidArgument));
    mesh.end().await;
}
