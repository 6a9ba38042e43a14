//! Which caller and which destination gets which status, and whom TLS refuses.

use weft_hbone_peer::client::Head;
use weft_hbone_peer::server::Rules;

use crate::certificates::{CLIENT, FOREIGN, SERVER};
use crate::setup::{Server, program, to};

async fn status(server: &Server, head: &Head) -> u16 {
    server.tunnel().await.open(head).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn a_caller_that_isn_t_listed_gets_401() {
    let (_program, address) = program().await;
    let rules = |id: &str| Rules { allow: vec![id.to_owned()], ..Rules::default() };
    let mut server = Server::start("status-401", rules("spiffe://cluster.local/ns/default/sa/friend")).await;
    assert_eq!(status(&server, &to(address)).await, 401);
    let stream = server.event("stream").await;
    assert_eq!((&stream["status"], &stream["spiffe"]), (&401.into(), &CLIENT.into()));
    let server = Server::start("status-200", rules(CLIENT)).await;
    assert_eq!(status(&server, &to(address)).await, 200);
}

#[tokio::test]
async fn a_program_that_isn_t_there_gets_503() {
    // Bound and not listened at, so that nobody else can either.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    let mut server = Server::start("status-503", Rules::default()).await;
    assert_eq!(status(&server, &to(address)).await, 503);
    assert_eq!(server.event("stream").await["authority"], address.to_string());
}

#[tokio::test]
async fn a_destination_elsewhere_gets_400() {
    let (_program, address) = program().await;
    let server = Server::start("status-400", Rules::default()).await;
    assert_eq!(status(&server, &to(format!("127.0.0.2:{}", address.port()))).await, 400);
    assert_eq!(status(&server, &to("service.default.svc.cluster.local:80")).await, 400);
}

#[tokio::test]
async fn a_destination_that_doesn_t_exist_here_can_be_dialled_elsewhere() {
    let (listener, address) = program().await;
    let rules = Rules {
        destinations: vec!["240.240.0.7".parse().unwrap()],
        dial: Some("127.0.0.1".parse().unwrap()),
        ..Rules::default()
    };
    let server = Server::start("status-dial", rules).await;
    let head = to(format!("240.240.0.7:{}", address.port()));
    let (status, accepted) = tokio::join!(status(&server, &head), listener.accept());
    assert_eq!(status, 200);
    accepted.unwrap();
}

#[tokio::test]
async fn a_head_of_http_1_gets_400_and_doubtful_metadata_is_told() {
    let (_program, address) = program().await;
    let mut server = Server::start("status-head", Rules::default()).await;
    let mut head = to(address);
    head.fields = vec![("traceparent".into(), "today".into()), ("baggage".into(), "k8s.namespace.name=default".into())];
    assert_eq!(status(&server, &head).await, 200);
    head.fields.push(("content-length".into(), "0".into()));
    assert_eq!(status(&server, &head).await, 400);
    // The first stream ends with its connection, perhaps after the second.
    let (first, second) = (server.event("stream").await, server.event("stream").await);
    for stream in [&first, &second] {
        let told = stream["violations"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("today"));
        assert!(told, "{stream}");
        assert_eq!(stream["baggage"], "k8s.namespace.name=default");
    }
}

#[tokio::test]
async fn a_server_of_another_identity_is_refused() {
    let server = Server::start("tls-server", Rules::default()).await;
    let why = server.tunnel_as(CLIENT, "spiffe://cluster.local/ns/default/sa/other").await.err().unwrap();
    assert!(why.contains("expected a server") && why.contains(SERVER), "{why}");
}

#[tokio::test]
async fn a_caller_of_another_trust_domain_is_refused() {
    let mut server = Server::start("tls-domain", Rules::default()).await;
    // With TLS 1.3 the caller learns it only from its first read.
    if let Ok(tunnel) = server.tunnel_as(FOREIGN, SERVER).await {
        assert!(tunnel.open(&to("127.0.0.1:1")).await.is_err());
    }
    let why = server.event("refused").await;
    assert!(why["why"].as_str().unwrap().contains("expected a caller of cluster.local"), "{why}");
}

#[tokio::test]
async fn the_handshake_is_reported() {
    let mut server = Server::start("tls-facts", Rules::default()).await;
    let _tunnel = server.tunnel().await;
    let found = server.event("connection").await;
    assert_eq!(found["spiffe"], CLIENT);
    assert_eq!((&found["tls"]["version"], &found["tls"]["alpn"]), (&"TLSv1_3".into(), &"h2".into()));
    assert_eq!(found["violations"], serde_json::json!([]));
}
