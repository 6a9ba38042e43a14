//! The pair of docs/hbone, with a peer of another code base in ztunnel's place: what the documentation
//! says is to be tried against ztunnel must at least be in order.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weft_hbone_peer::client::{self, Head};
use weft_hbone_peer::server::{self, Rules};
use weft_hbone_peer::tls::{self, Files};

use crate::rig::*;

fn documented(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/hbone");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn files(rig: &Rig, name: &str) -> Files {
    let path = |name: &str| rig.folder.path().join(name);
    Files { cert: path(&format!("{name}.crt")), key: path(&format!("{name}.key")), ca: path("ca.crt") }
}

/// A server of HBONE in ztunnel's place, for as long as the tests run.
fn ztunnel(rig: &Rig) -> SocketAddr {
    let config = tls::server(&files(rig, "ztunnel")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (destinations, dial) = (vec!["10.88.0.2".parse().unwrap()], Some(rig.host.into()));
    let serving = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        server::serve(listener, config, Rules { destinations, dial, ..Rules::default() }, Arc::new(|_| {})).await
    };
    std::thread::spawn(move || runtime().block_on(serving));
    address
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What `account` is answered with, when it calls the documented workload.
async fn status(rig: &Rig, account: &str) -> u16 {
    let config = tls::client(&files(rig, account), vec![id("weft")]).unwrap();
    let target = rig.at(MESH).parse().unwrap();
    let tunnel = client::connect(target, config, Arc::new(|_| {})).await.unwrap();
    let head = Head { authority: "10.88.0.1:8080".to_owned(), fields: Vec::new() };
    tunnel.open(&head).await.unwrap().status.as_u16()
}

#[test]
fn the_documented_file_serves_and_calls() {
    let rig = Rig::new();
    let _program = rig.program();
    let mut file: Value = serde_json::from_str(&documented("weft.json")).unwrap();
    // What this machine has otherwise: ports, and the authority's file.
    file["trust"]["anchors"] = json!("ca.crt");
    file["mesh"] = json!(rig.at(MESH));
    file["admin"] = json!(rig.at(SERVER_ADMIN));
    file["programs"]["8080"] = json!(rig.at(PROGRAM));
    file["outbound"][0]["listen"] = json!(rig.at(DOOR));
    file["destinations"][0]["ports"][0]["target"] = json!(PROGRAM);
    file["destinations"][0]["endpoints"][0]["tunnel"]["hbone"] = json!(ztunnel(&rig).to_string());
    let _weft = rig.proxy("weft.json", &file);
    assert_eq!(rig.through_the_pair().as_deref(), Some("hello from the server"));
    assert_eq!(runtime().block_on(status(&rig, "ztunnel")), 200);
    assert_eq!(runtime().block_on(status(&rig, "stranger")), 401);
}

#[test]
fn the_documented_files_agree() {
    let (weft, ztunnel): (Value, _) =
        (serde_json::from_str(&documented("weft.json")).unwrap(), documented("ztunnel.yaml"));
    let endpoint = &weft["destinations"][0]["endpoints"][0];
    for (address, tunnel) in
        [(&weft["addresses"][0], &weft["mesh"]), (&endpoint["address"], &endpoint["tunnel"]["hbone"])]
    {
        let address = address.as_str().unwrap();
        assert_eq!(*tunnel, format!("{address}:15008"));
        assert!(ztunnel.contains(&format!("workloadIps: [\"{address}\"]")), "{address}");
    }
    for identity in [&weft["identity"], &endpoint["identity"]] {
        let (domain, account) = identity.as_str().unwrap().split_once("/ns/default/sa/").unwrap();
        assert_eq!(domain, "spiffe://cluster.local");
        assert!(ztunnel.contains(&format!("serviceAccount: {account}\n")), "{account}");
    }
    assert_eq!(ztunnel.matches("trustDomain: cluster.local\n").count(), 2);
}
