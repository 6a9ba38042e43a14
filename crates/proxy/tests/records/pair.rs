//! A pair carries what it should, and nothing else.

use serde_json::json;

use crate::rig::*;

#[test]
fn a_pair_carries_curl_to_python_over_mutual_tls() {
    let rig = Rig::new();
    let _program = rig.program();
    let server = rig.proxy("server.json", &rig.server());
    let _client = rig.proxy("client.json", &rig.client());
    assert_eq!(rig.through_the_pair().as_deref(), Some("hello from the server"));
    let line = rig.logged(|line| line["verdict"] == "allow");
    assert_eq!(line["source_principal"], id("client"));
    let page = rig.metrics(SERVER_ADMIN);
    let served = page.lines().find(|line| line.starts_with("istio_tcp_connections_opened_total{")).unwrap();
    for label in ["source_principal=\"spiffe://cluster.local/ns/default/sa/client\"", "reporter=\"destination\""] {
        assert!(served.contains(label), "{served}");
    }
    let page = rig.metrics(CLIENT_ADMIN);
    assert!(page.contains("reporter=\"source\",destination_service=\"server.default.svc.cluster.local\""), "{page}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_workload_is_called_by_its_own_address_too() {
    let rig = Rig::new();
    let _program = rig.program();
    let _server = rig.proxy("server.json", &rig.server());
    let mut client = rig.client();
    client["outbound"][0]["destination"] = json!("240.240.1.9:8080");
    let _client = rig.proxy("client.json", &client);
    assert_eq!(rig.through_the_pair().as_deref(), Some("hello from the server"));
    assert!(rig.metrics(CLIENT_ADMIN).contains("destination_service=\"default/server\""));
}

#[test]
fn a_stranger_of_the_same_mesh_is_denied_by_policy() {
    let rig = Rig::new();
    let _program = rig.program();
    let _server = rig.proxy("server.json", &rig.server());
    let mut stranger = rig.client();
    stranger["identity"] = json!(id("stranger"));
    stranger["certificate"] = json!({"chain": "stranger.crt", "key": "stranger.key"});
    let _stranger = rig.proxy("stranger.json", &stranger);
    assert_eq!(rig.through_the_pair(), None);
    let line = rig.logged(|line| line["verdict"] == "deny");
    assert_eq!((&line["why"], &line["source_principal"]), (&json!("policy"), &json!(id("stranger"))));
    assert!(rig.metrics(SERVER_ADMIN).contains("weft_denied_total 1"));
}

#[test]
fn a_plain_caller_meets_strict() {
    let rig = Rig::new();
    let _program = rig.program();
    let mut file = rig.server();
    let published = format!("http://{}/hello", rig.at(PUBLISHED));
    let server = rig.proxy("server.json", &file);
    assert_eq!(curl(&[&published]), None);
    rig.logged(|line| line["reason"].as_str().is_some_and(|reason| reason.contains("STRICT")));
    drop(server);
    file["inbound"]["peerAuthentication"]["mode"] = json!("PERMISSIVE");
    file["inbound"]["policies"] = json!([]);
    let _server = rig.proxy("server.json", &file);
    assert_eq!(curl(&[&published]).as_deref(), Some("hello from the server"));
}

#[test]
fn a_server_that_is_somebody_else_is_refused() {
    let rig = Rig::new();
    let _program = rig.program();
    let mut impostor = rig.server();
    impostor["identity"] = json!(id("stranger"));
    impostor["certificate"] = json!({"chain": "stranger.crt", "key": "stranger.key"});
    let _impostor = rig.proxy("server.json", &impostor);
    let _client = rig.proxy("client.json", &rig.client());
    assert_eq!(rig.through_the_pair(), None);
    let page = rig.metrics(CLIENT_ADMIN);
    assert!(page.lines().any(|line| line.contains("response_flags=\"CERT\"")), "{page}");
}
