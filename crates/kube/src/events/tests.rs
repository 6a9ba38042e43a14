use serde_json::json;

use super::*;
use crate::client::tests::silent;
use crate::clock::{Clock, eventually};

fn pod(metadata: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap()
}

fn unmeshed(name: &str) -> Unmeshed {
    Unmeshed { namespace: "shop".to_owned(), name: name.to_owned(), uid: "u".to_owned() }
}

#[test]
fn the_owner_is_told() {
    let owned = |kind: &str, name: &str| {
        pod(json!({"generateName": "web-", "labels": {"pod-template-hash": "5f6"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true}]}))
    };
    let subject = |pod: &Pod| Notice::injected(pod, "shop", &[]).unwrap().subject;
    let of_set = subject(&owned("ReplicaSet", "web-5f6"));
    assert_eq!((of_set.kind.as_str(), of_set.deployment.as_deref()), ("ReplicaSet", Some("web")));
    assert_eq!(subject(&owned("ReplicaSet", "web")).deployment, None, "a ReplicaSet of nobody");
    assert_eq!(subject(&owned("StatefulSet", "web-5f6")).deployment, None);
    let alone = subject(&pod(json!({"name": "p"})));
    assert_eq!((alone.kind.as_str(), alone.name.as_str()), ("Pod", "p"));
    assert_eq!(Notice::injected(&pod(json!({"generateName": "p-"})), "shop", &[]), None, "a pod without a name yet");
}

#[test]
fn a_reason_that_nobody_waits_for_is_not_told() {
    let pod = pod(json!({"name": "p"}));
    assert_eq!(Notice::skipped(&pod, "shop", &[Reason::NotAsked]), None);
    let notice = Notice::skipped(&pod, "shop", &[Reason::AlreadyInjected, Reason::HostNetwork]).unwrap();
    assert_eq!(notice.note, "no proxy injected: hostNetwork: true, so its traffic can't be told from its node's");
}

#[test]
fn the_same_is_told_once_in_a_while() {
    let (mut told, begin) = (Told::default(), Instant::now());
    let notice = Notice::missing(&unmeshed("p"));
    assert!(told.is_news(&notice, begin));
    assert!(!told.is_news(&notice, begin + REPEATED_AFTER / 2));
    assert!(told.is_news(&notice, begin + REPEATED_AFTER));
    for number in 0..2 * MAX_TOLD {
        told.is_news(&Notice::missing(&unmeshed(&number.to_string())), begin);
    }
    assert!(told.at.len() <= MAX_TOLD);
}

#[test]
fn an_event_is_one_that_the_api_server_takes() {
    let mut notice = Notice::missing(&unmeshed(&"p".repeat(253)));
    notice.note = "ä".repeat(2000);
    let made = event(&notice, notice.subject.reference(), Timestamp::UNIX_EPOCH);
    let note = made.note.unwrap();
    assert!(note.len() <= 1024 && note.ends_with('…'), "{}", note.len());
    assert!(made.metadata.name.unwrap().len() <= 253);
}

#[tokio::test]
async fn an_event_that_the_api_server_does_not_take_gives_way_to_the_next() {
    let (client, listener) = silent();
    let clock = Clock::stop();
    let (events, posting) = Events::new(client);
    tokio::spawn(posting);
    events.proxy_missing(&unmeshed("a")).unwrap();
    events.proxy_missing(&unmeshed("b")).unwrap();
    let mut taken = Vec::new();
    eventually(|| listener.accept().map(|stream| taken.push(stream)).is_ok()).await;
    clock.ends(POST_TIMEOUT, || listener.accept().map(|stream| taken.push(stream)).is_ok()).await;
}

#[tokio::test]
async fn so_many_events_wait_and_further_ones_are_dropped() {
    let (client, _listener) = silent();
    let (events, _posting) = Events::new(client);
    for number in 0..256 {
        assert_eq!(events.proxy_missing(&unmeshed(&number.to_string())), Ok(()));
    }
    assert_eq!(events.proxy_missing(&unmeshed("beyond")), Err(Dropped));
}

#[test]
fn events_without_end_are_left_out_and_that_is_said_once() {
    let begun = Instant::now();
    let mut budget = Budget::full(begun);
    let posted = |budget: &mut Budget, now: Instant| {
        let all = std::iter::repeat_with(|| budget.has(now).then(|| budget.spend()));
        all.take(5000).flatten().count()
    };
    assert_eq!(posted(&mut budget, begun), 1000);
    assert!(budget.is_news(begun) && !budget.is_news(begun + Duration::from_secs(1)));
    assert_eq!(posted(&mut budget, begun + Duration::from_secs(10)), 20);
    assert_eq!(posted(&mut budget, begun + Duration::from_secs(86_400)), 1000, "no more than at first");
    assert!(budget.is_news(begun + REPEATED_AFTER));
}
