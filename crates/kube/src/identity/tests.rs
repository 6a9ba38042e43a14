use super::*;
use crate::model::tests::{id, pod, put_pod};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tonic::Code;
use weft_control::{Authenticator, Claim, Client};

use super::review::{REVIEW_TIMEOUT, WATCH_LAG};
use crate::client::tests::silent;
use crate::clock::Clock;
use crate::controller::Health;
use crate::watched::Watched;

const T1: &str = "2026-01-31T12:00:00Z";

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    put_pod(&mut cluster, "shop/a", pod("ua", "10.1.0.1", T1));
    put_pod(&mut cluster, "shop/b", pod("ub", "10.1.0.2", T1));
    cluster
}

/// What the API server says of the token of `shop/a`.
fn review() -> Value {
    json!({
        "authenticated": true, "audiences": ["weft.io"],
        "user": {"username": "system:serviceaccount:shop:web", "uid": "x", "groups": ["system:authenticated"],
                 "extra": {POD_NAME: ["a"], POD_UID: ["ua"]}},
    })
}

fn judged(change: impl Fn(&mut Value), cluster: &Cluster, peer: &str) -> Result<Proved, Refusal> {
    let mut review = review();
    change(&mut review);
    judge(&serde_json::from_value(review).unwrap(), cluster, peer.parse().unwrap())
}

#[test]
fn a_pods_own_token_from_its_own_address_is_believed() {
    for peer in ["10.1.0.1", "::ffff:10.1.0.1"] {
        let proved = judged(|_| {}, &cluster(), peer).unwrap();
        assert_eq!(proved.workload, id("shop/a"));
        assert_eq!(proved.identity.as_str(), "spiffe://cluster.local/ns/shop/sa/web");
    }
}

#[test]
fn a_certificate_names_what_made_the_pod_or_the_pod_itself() {
    let bearer = |change: fn(&mut Value)| {
        let mut made = pod("ua", "10.1.0.1", T1);
        change(&mut made);
        let mut cluster = Cluster::default();
        put_pod(&mut cluster, "shop/a", made);
        let Bearer { workload, kind, app } = judged(|_| {}, &cluster, "10.1.0.1").unwrap().bearer;
        [workload, kind, app]
    };
    assert_eq!(bearer(|_| {}), ["a", "", "web"]);
    let made = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true}]);
    };
    assert_eq!(bearer(made), ["db", "StatefulSet", "web"]);
}

#[test]
fn every_other_token_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 12] = [
        (|r| r["authenticated"] = json!(false), "that the API server knows"),
        (|r| *r = json!({"error": "token has expired"}), "token has expired"),
        (|r| r["audiences"] = json!(["https://kubernetes.default.svc"]), "audience"),
        (|r| r["audiences"] = Value::Null, "audience"),
        (|r| r["user"]["username"] = json!("system:node:n1"), "service account"),
        (|r| r["user"]["username"] = json!("system:serviceaccount:shop"), "service account"),
        (|r| r["user"]["extra"] = Value::Null, "bound to a pod"),
        (|r| r["user"]["extra"] = json!({POD_NAME: ["a"]}), "bound to a pod"),
        (|r| r["user"]["extra"][POD_UID] = json!(["ua", "ub"]), "bound to a pod"),
        (|r| r["user"]["extra"][POD_UID] = json!(["of a former pod"]), "uid"),
        (|r| r["user"]["extra"] = json!({POD_NAME: ["c"], POD_UID: ["uc"]}), "no shop/c"),
        (|r| r["user"]["username"] = json!("system:serviceaccount:shop:other"), "to run as web"),
    ];
    for (change, reason) in cases {
        let refusal = judged(change, &cluster(), "10.1.0.1").unwrap_err().to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[test]
fn another_namespaces_account_of_the_same_name_is_another() {
    let namespace = |r: &mut Value| r["user"]["username"] = json!("system:serviceaccount:other:web");
    assert_eq!(judged(namespace, &cluster(), "10.1.0.1"), Err(Refusal::NoPod(id("other/a"))));
}

#[test]
fn a_stolen_token_does_not_work_elsewhere() {
    for peer in ["10.1.0.2", "10.1.0.9", "127.0.0.1", "fd00::1"] {
        let refusal = judged(|_| {}, &cluster(), peer).unwrap_err();
        assert!(matches!(refusal, Refusal::Address { .. }), "{refusal}");
    }
}

#[test]
fn a_pod_without_a_place_of_its_own_proves_nothing() {
    let refused = |change: fn(&mut Value)| {
        let mut changed = pod("ua", "10.1.0.1", T1);
        change(&mut changed);
        let mut cluster = cluster();
        put_pod(&mut cluster, "shop/a", changed);
        judged(|_| {}, &cluster, "10.1.0.1").unwrap_err()
    };
    assert_eq!(refused(|pod| pod["status"]["phase"] = json!("Failed")), Refusal::NoPlace(id("shop/a")));
    assert_eq!(refused(|pod| pod["spec"]["hostNetwork"] = json!(true)), Refusal::NoPlace(id("shop/a")));
    let early = refused(|pod| pod["status"] = json!({}));
    assert_eq!(early, Refusal::NoAddress(id("shop/a")));
    assert!(early.may_pass());
}

#[test]
fn an_address_that_was_given_on_is_its_formers_no_more() {
    let mut cluster = cluster();
    put_pod(&mut cluster, "shop/new", pod("un", "10.1.0.1", "2026-01-31T12:00:09Z"));
    assert!(matches!(judged(|_| {}, &cluster, "10.1.0.1"), Err(Refusal::Address { .. })));
}

#[test]
fn a_certificate_speaks_for_its_own_pods_only() {
    let cluster = cluster();
    let speak = |workload: &str, identity: &str, peer: &str| {
        speak_for(&id(workload), &identity.parse().unwrap(), &cluster, peer.parse().unwrap())
    };
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    assert!(speak("shop/a", web, "10.1.0.1").is_ok());
    // Of the same account, yet another pod.
    assert!(matches!(speak("shop/b", web, "10.1.0.1"), Err(Refusal::Address { .. })));
    let other = "spiffe://cluster.local/ns/shop/sa/other";
    assert!(matches!(speak("shop/a", other, "10.1.0.1"), Err(Refusal::OtherAccount { .. })));
    assert!(matches!(speak("shop/c", web, "10.1.0.1"), Err(Refusal::NoPod(_))));
}

#[tokio::test]
async fn an_api_server_that_says_nothing_of_a_token_is_waited_for_a_while_only() {
    let (client, _listener) = silent();
    let clock = Clock::stop();
    let reviewer = Reviewer::new(client, Watched::new(cluster()), Health::default());
    let claim = Claim { token: Some("a token".to_owned()), workload: None, client: from("10.1.0.1", None) };
    let asked = tokio::spawn(async move { reviewer.certifies(&claim).await });
    clock.ends(REVIEW_TIMEOUT, || asked.is_finished()).await;
    assert_eq!(asked.await.unwrap().unwrap_err().code(), Code::Unavailable, "to be asked again");
}

#[tokio::test]
async fn a_token_that_is_none_is_not_asked_about() {
    let (client, listener) = silent();
    let reviewer = Reviewer::new(client, Watched::new(cluster()), Health::default());
    let claim = Claim { token: Some("x".repeat((16 << 10) + 1)), workload: None, client: from("10.1.0.1", None) };
    assert_eq!(reviewer.certifies(&claim).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(listener.accept().is_err(), "the API server wasn't asked");
}

#[tokio::test]
async fn the_api_server_is_asked_about_so_many_tokens_at_once() {
    const REVIEWS: usize = 32;
    let (client, listener) = silent();
    let clock = Clock::stop();
    let reviewer = Arc::new(Reviewer::new(client, Watched::new(cluster()), Health::default()));
    let ask = |number: usize| {
        let (reviewer, token) = (Arc::clone(&reviewer), Some(number.to_string()));
        let claim = Claim { token, workload: None, client: from("10.1.0.1", None) };
        tokio::spawn(async move { reviewer.certifies(&claim).await })
    };
    let asked: Vec<_> = (0..3 * REVIEWS).map(ask).collect();
    let (mut taken, mut most) = (Vec::new(), 0);
    let all_are_refused = || {
        taken.extend(std::iter::from_fn(|| listener.accept().ok()));
        if !asked.iter().any(JoinHandle::is_finished) {
            most = taken.len();
        }
        asked.iter().all(JoinHandle::is_finished)
    };
    clock.ends(REVIEW_TIMEOUT, all_are_refused).await;
    assert_eq!(most, REVIEWS);
}

#[tokio::test]
async fn a_pod_of_which_the_watch_never_tells_is_refused() {
    let (client, _listener) = silent();
    let clock = Clock::stop();
    let reviewer = Reviewer::new(client, Watched::new(cluster()), Health::default());
    let web = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
    let claim = Claim { token: None, workload: Some(id("shop/new")), client: from("10.1.0.9", Some(web)) };
    let asked = tokio::spawn(async move { reviewer.admits(&claim).await });
    clock.ends(WATCH_LAG, || asked.is_finished()).await;
    assert_eq!(asked.await.unwrap().unwrap_err().code(), Code::Unauthenticated);
}

fn from(address: &str, identity: Option<SpiffeId>) -> Client {
    Client { address: Some((address.parse::<IpAddr>().unwrap(), 1).into()), identity }
}
