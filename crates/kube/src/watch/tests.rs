use super::*;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use crate::client::API_SILENCE;
use crate::client::tests::silent;
use crate::clock::{Clock, eventually};

/// What is answered next, and how the request must begin.
type Script = Arc<Mutex<VecDeque<(&'static str, u16, String)>>>;

/// A client of an API server on loopback that follows a script, and is silent after it.
async fn api_server(script: Vec<(&'static str, u16, String)>) -> Client {
    follows(Arc::new(Mutex::new(script.into()))).await
}

/// The same, and the test sees how far the script has come.
async fn follows(script: Script) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = Arc::clone(&script);
            let answered = service_fn(move |request: Request<Incoming>| answer(request, Arc::clone(&script)));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answered));
        }
    });
    Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

async fn answer(request: Request<Incoming>, script: Script) -> Result<Response<Full<Bytes>>, Infallible> {
    let next = script.lock().unwrap().pop_front();
    let Some((begins, status, body)) = next else { return std::future::pending().await };
    let asked = request.uri().to_string();
    let kind = if asked.contains("watch=true") { "watch" } else { "list" };
    let found = format!("{kind} {asked}");
    assert!(found.starts_with(begins), "expected {begins}, found {found}");
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
}

fn pod(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "resourceVersion": version}})
}

fn list(version: &str, items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": version}, "items": items}).to_string()
}

fn change(kind: &str, object: Value) -> String {
    json!({"type": kind, "object": object}).to_string() + "\n"
}

fn failure(code: u16, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message,
           "reason": if code == 403 { "Forbidden" } else { "Other" }})
}

/// Follows pods, and tells what came as short texts.
fn follow_pods(client: &Client) -> Receiver<Told> {
    let (told, events) = mpsc::channel(64);
    let watch = Watch { kind: Kind::Pod, told, is_broken: false, is_heard: false };
    let event = |name, found: Option<core::Pod>| Event::Pod(name, found.as_ref().map(|pod| Box::new(Pod::read(pod))));
    tokio::spawn(watch.follow(Api::all(client.clone()), event));
    events
}

async fn texts(events: &mut Receiver<Told>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let told = timeout(Duration::from_secs(60), events.recv()).await;
        texts.push(match told.expect("something is told").unwrap() {
            Told::Event(Event::Pod(name, pod)) => format!("{}{name}", if pod.is_some() { "+" } else { "-" }),
            Told::Event(Event::Listed(kind, present)) => {
                let mut names: Vec<String> = present.iter().map(ToString::to_string).collect();
                names.sort();
                format!("{kind}: {}", names.join(" "))
            }
            Told::Event(other) => format!("{other:?}"),
            Told::Broken(kind, reason) => format!("{kind} broken: {reason}"),
            Told::Mended(kind) => format!("{kind} mended"),
        });
    }
    texts
}

#[tokio::test]
async fn a_list_then_changes_then_what_was_missed() {
    let gone = failure(410, "too old resource version");
    let client = api_server(vec![
        ("list /api/v1/pods?", 200, list("10", &[pod("a", "1"), pod("b", "2")])),
        (
            "watch /api/v1/pods?",
            200,
            change("ADDED", pod("c", "11")) + &change("DELETED", pod("a", "12")) + &change("ERROR", gone),
        ),
        ("list /api/v1/pods?", 200, list("20", &[pod("c", "11")])),
    ])
    .await;
    let mut events = follow_pods(&client);
    let told = texts(&mut events, 7).await;
    assert_eq!(
        told,
        ["+shop/a", "+shop/b", "Pods: shop/a shop/b", "+shop/c", "-shop/a", "+shop/c", "Pods: shop/c"],
        "a version that is forgotten is no trouble"
    );
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_tried_again() {
    let forbidden = failure(403, "pods is forbidden").to_string();
    let client = api_server(vec![
        ("list /api/v1/pods?", 403, forbidden),
        ("list /api/v1/pods?", 200, list("10", &[pod("a", "1")])),
    ])
    .await;
    let mut events = follow_pods(&client);
    let told = texts(&mut events, 4).await;
    assert!(told[0].starts_with("Pods broken: ") && told[0].contains("pods is forbidden"), "{told:?}");
    assert_eq!(told[1..], ["Pods mended", "+shop/a", "Pods: shop/a"]);
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_where_it_was() {
    let client = api_server(vec![
        ("list /api/v1/pods?", 200, list("10", &[])),
        ("watch /api/v1/pods?", 200, change("ADDED", pod("a", "11"))),
        // The first watch has ended; nothing is listed again.
        ("watch /api/v1/pods?", 200, change("ADDED", pod("b", "12"))),
    ])
    .await;
    let mut events = follow_pods(&client);
    assert_eq!(texts(&mut events, 3).await, ["Pods: ", "+shop/a", "+shop/b"]);
}

#[tokio::test]
async fn policies_without_their_kind_are_none_at_all() {
    let missing = || failure(404, "the server could not find the requested resource").to_string();
    let client = api_server(vec![
        ("list /apis/security.istio.io/v1/peerauthentications?", 404, missing()),
        ("list /apis/security.istio.io/v1beta1/peerauthentications?", 404, missing()),
    ])
    .await;
    let (told, mut events) = mpsc::channel(64);
    let kind = PolicyKind::PeerAuthentication;
    let watch = Watch { kind: Kind::Policy(kind), told, is_broken: false, is_heard: false };
    tokio::spawn(watch.policies(client, kind));
    let told = texts(&mut events, 2).await;
    assert!(told[0].contains("weft install --crds"), "{told:?}");
    assert_eq!(told[1], "PeerAuthentications: ");
}

#[tokio::test]
async fn a_kind_that_goes_is_asked_for_anew() {
    let missing = || failure(404, "the server could not find the requested resource").to_string();
    let client = api_server(vec![
        ("list /apis/security.istio.io/v1/peerauthentications?", 200, list("10", &[])),
        // So it answers a watch of a kind whose definition was deleted.
        ("watch /apis/security.istio.io/v1/peerauthentications?", 404, "404 page not found\n".to_owned()),
        ("list /apis/security.istio.io/v1/peerauthentications?", 404, missing()),
        ("list /apis/security.istio.io/v1beta1/peerauthentications?", 404, missing()),
    ])
    .await;
    let (told, mut events) = mpsc::channel(64);
    let kind = PolicyKind::PeerAuthentication;
    let watch = Watch { kind: Kind::Policy(kind), told, is_broken: false, is_heard: false };
    tokio::spawn(watch.policies(client, kind));
    let told = texts(&mut events, 2).await;
    assert_eq!(told[0], "PeerAuthentications: ");
    assert!(told[1].contains("weft install --crds"), "{told:?}");
}

#[tokio::test]
async fn an_api_server_that_says_nothing_more_is_asked_again() {
    let (client, _listener) = silent();
    let clock = Clock::stop();
    let mut events = follow_pods(&client);
    clock.ends(API_SILENCE, || matches!(events.try_recv(), Ok(Told::Broken(Kind::Pod, _)))).await;
}

#[tokio::test]
async fn a_watch_that_breaks_again_and_again_pauses_longer_and_not_for_ever() {
    let broken = || ("list /api/v1/pods?", 500, failure(500, "etcd is away").to_string());
    let script: Script = Arc::new(Mutex::new((0..9).map(|_| broken()).collect()));
    let client = follows(Arc::clone(&script)).await;
    let left = || script.lock().unwrap().len();
    let clock = Clock::stop();
    let _events = follow_pods(&client);
    eventually(|| left() == 8).await;
    let pauses_ms = [(8, 500), (7, 1_000), (6, 2_000), (5, 4_000), (4, 8_000), (3, 8_000), (2, 8_000)];
    for (before, pause_ms) in pauses_ms {
        clock.ends(Duration::from_millis(pause_ms), || left() < before).await;
    }
}

#[tokio::test]
async fn what_is_refused_or_unknown_is_asked_for_again_after_a_pause() {
    let (refused, missing) = (failure(403, "forbidden").to_string(), failure(404, "not found").to_string());
    let kind = PolicyKind::PeerAuthentication;
    let v1 = "list /apis/security.istio.io/v1/peerauthentications?";
    let script = [
        (v1, 200, list("10", &[])),
        ("watch /apis/security.istio.io/v1/peerauthentications?", 403, refused),
        (v1, 404, missing.clone()),
        ("list /apis/security.istio.io/v1beta1/peerauthentications?", 404, missing),
        (v1, 200, list("20", &[])),
    ];
    let script: Script = Arc::new(Mutex::new(script.into()));
    let client = follows(Arc::clone(&script)).await;
    let left = || script.lock().unwrap().len();
    let clock = Clock::stop();
    let (told, _events) = mpsc::channel(64);
    tokio::spawn(Watch { kind: Kind::Policy(kind), told, is_broken: false, is_heard: false }.policies(client, kind));
    eventually(|| left() == 3).await;
    clock.ends(REFUSED_PAUSE, || left() == 1).await;
    clock.ends(CRD_PAUSE, || left() == 0).await;
}
