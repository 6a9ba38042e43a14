use std::net::IpAddr;

use weft_mesh::call::Sni;
use weft_mesh::decide::{Decision, decide, unenforced};
use weft_mesh::explain::explain;
use weft_mesh::record::{Inbound, MtlsMode, PeerAuthentication, Scoped};
use weft_mesh::{Call, HttpCall, SpiffeId};

use super::*;
use crate::Settings;

/// Addresses of a cluster, and others.
const NEAR: [&str; 3] = ["10.1.2.3", "100.127.0.1", "fd12::1"];
const FAR: [&str; 2] = ["9.9.9.9", "2001:db8::1"];

/// What linkerd-semantics P1 says, in other words than the policy's.
fn admits(default: DefaultInbound, call: &Call<'_>) -> bool {
    let is_proved = call.peer.is_some();
    let is_near = NEAR.contains(&call.source_ip.to_string().as_str());
    match default {
        DefaultInbound::AllUnauthenticated | DefaultInbound::Audit => true,
        DefaultInbound::AllAuthenticated => is_proved,
        DefaultInbound::ClusterUnauthenticated => is_near,
        DefaultInbound::ClusterAuthenticated => is_proved && is_near,
        DefaultInbound::Deny => false,
    }
}

fn record(default: DefaultInbound, mode: MtlsMode) -> Inbound {
    let peer_authentication = PeerAuthentication { default: Scoped { mode, origin: None }, ..Default::default() };
    Inbound {
        workload: "shop/web-1".parse().unwrap(),
        identity: "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap(),
        service: "web".to_owned(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication,
        policies: default.policy("shop", &Settings::default().cluster_networks).into_iter().collect(),
    }
}

fn call<'a>(peer: Option<&'a SpiffeId>, source: IpAddr, http: Option<HttpCall<'a>>) -> Call<'a> {
    let destination_ip = IpAddr::from([10, 0, 0, 1]);
    Call { peer, source_ip: source, remote_ip: source, destination_ip, destination_port: 80, sni: Sni::Absent, http }
}

#[test]
fn it_admits_what_linkerd_would() {
    let peer: SpiffeId = "spiffe://cluster.local/ns/shop/sa/api".parse().unwrap();
    let no_headers = Vec::new();
    let http = HttpCall { method: "GET", authority: "web", path: "/", headers: &no_headers };
    for default in DefaultInbound::ALL {
        let record = record(default, MtlsMode::Permissive);
        for source in NEAR.iter().chain(&FAR) {
            for (peer, http) in [(None, None), (Some(&peer), None), (None, Some(http)), (Some(&peer), Some(http))] {
                let call = call(peer, source.parse().unwrap(), http);
                let verdict = decide(&record, &call);
                let expected = admits(default, &call);
                assert_eq!(verdict.decision == Decision::Allow, expected, "{default} {source} {}", peer.is_some());
            }
        }
    }
}

#[test]
fn a_mode_without_identities_proves_none() {
    let peer: SpiffeId = "spiffe://cluster.local/ns/shop/sa/api".parse().unwrap();
    let near = IpAddr::from([10, 1, 2, 3]);
    let record = record(DefaultInbound::AllAuthenticated, MtlsMode::Disable);
    assert_eq!(decide(&record, &call(Some(&peer), near, None)).decision, Decision::Deny);
}

#[test]
fn each_is_explained() {
    let near = IpAddr::from([10, 1, 2, 3]);
    let denied = record(DefaultInbound::AllAuthenticated, MtlsMode::Permissive);
    let told = explain(&denied, &decide(&denied, &call(None, near, None)));
    assert_eq!(
        told.reason,
        "denied: DENY rule 0 matches (shop/config.linkerd.io/default-inbound-policy: all-authenticated); \
         the caller is plaintext and has no identity"
    );
    let audit = record(DefaultInbound::Audit, MtlsMode::Permissive);
    let marked = unenforced(&audit, &call(None, near, None)).unwrap().audit;
    assert_eq!(marked[0].policy.origin.name, "config.linkerd.io/default-inbound-policy: audit");
    assert!(DefaultInbound::AllUnauthenticated.policy("shop", &[]).is_none());
}

#[test]
fn values_are_read_as_they_are_written() {
    for default in DefaultInbound::ALL {
        assert_eq!(default.to_string().parse(), Ok(default));
    }
    let error = "all-authenticatd".parse::<DefaultInbound>().unwrap_err();
    assert!(error.to_string().ends_with("found \"all-authenticatd\""), "{error}");
}
