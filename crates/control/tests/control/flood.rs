//! Whoever fills the control socket, or reads nothing from it, holds up nobody else.

use std::os::unix::net::UnixStream;

use weft_mesh::record::{Inbound, MtlsMode};
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use weft_wire::record::INBOUND_TYPE;

use crate::harness::{Mesh, soon, with_token};
use crate::{DISABLE, STRICT};

#[tokio::test]
async fn connections_that_say_nothing_hold_up_nobody() {
    let mesh = Mesh::start();
    let silent: Vec<UnixStream> = (0..300).map(|_| UnixStream::connect(mesh.socket()).unwrap()).collect();
    let web = mesh.launch("web").await;
    assert!(web.assigned.workload.starts_with("default/web-"));
    drop(silent);
    mesh.end().await;
}

#[tokio::test]
async fn streams_beyond_a_workloads_bound_are_refused_and_others_are_served() {
    const STREAMS: usize = 20;
    const OF_A_WORKLOAD: usize = 4;
    let mesh = Mesh::start();
    let launchers = [mesh.launch("web").await, mesh.launch("api").await];
    let channel = mesh.channel().await;
    let subscribe = |token: &str| {
        let requests = tokio_stream::pending::<DeltaDiscoveryRequest>();
        let request = with_token(requests, token);
        let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
        async move { client.delta_aggregated_resources(request).await }
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        for launcher in &launchers {
            open.extend(soon(subscribe(&launcher.assigned.token)).await);
        }
    }
    assert_eq!(open.len(), 2 * OF_A_WORKLOAD);
    assert!(mesh.subscribe(&launchers[0].assigned.token).await.is_err(), "its workload has its fill");
    mesh.launch("late").await;
    drop(open);
    mesh.end().await;
}

#[tokio::test]
async fn a_proxy_that_reads_nothing_holds_up_no_other() {
    let mesh = Mesh::start();
    let (web, api) = (mesh.launch("web").await, mesh.launch("api").await);
    let mut stalled = mesh.subscribe(&web.assigned.token).await.unwrap();
    stalled.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
    let mut proxy = mesh.subscribe(&api.assigned.token).await.unwrap();
    proxy.ask(INBOUND_TYPE, &[&api.assigned.workload]).await;
    assert_eq!(proxy.inbound().await.peer_authentication.default.mode, MtlsMode::Permissive);
    for round in 0..20 {
        let (text, mode) = [(STRICT, MtlsMode::Strict), (DISABLE, MtlsMode::Disable)][round % 2];
        mesh.edit("a.yaml", text);
        assert_eq!(proxy.inbound().await.peer_authentication.default.mode, mode, "round {round}");
    }
    mesh.edit("last.yaml", &STRICT.replace("istio-system", "default"));
    let is_last =
        |inbound: Inbound| inbound.peer_authentication.default.origin.is_some_and(|origin| origin.file == "last.yaml");
    assert!(is_last(proxy.inbound().await));
    // So many were sent without an answer; all others have merged into the newest.
    let mut sent = 1;
    while !is_last(stalled.inbound().await) {
        sent += 1;
    }
    assert!(sent <= 9, "{sent} responses");
    mesh.end().await;
}
