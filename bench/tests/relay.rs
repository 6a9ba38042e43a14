//! The floor relays, keeps half-close, and refuses a peer of another identity.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weft_bench::relay::{Route, Side, accept};
use weft_bench::tls::{self, Identity};

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";

#[tokio::test]
async fn bytes_and_half_close_pass_both_ways() {
    let folder = certificates("pass");
    let entry = pair(&folder, CLIENT, SERVER).await;
    let mut stream = TcpStream::connect(entry).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"heard: hello");
}

#[tokio::test]
async fn the_client_refuses_another_server() {
    assert!(refused("other-server", CLIENT, CLIENT).await);
}

#[tokio::test]
async fn the_server_refuses_another_client() {
    assert!(refused("other-client", SERVER, SERVER).await);
}

async fn refused(name: &str, expected_client: &str, expected_server: &str) -> bool {
    let folder = certificates(name);
    let entry = pair(&folder, expected_client, expected_server).await;
    let mut stream = TcpStream::connect(entry).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let _closed = stream.shutdown().await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    answer.is_empty()
}

/// A, B and a server that answers once its caller has finished; returns A's address.
async fn pair(folder: &Path, expected_client: &str, expected_server: &str) -> SocketAddr {
    let (server, server_addr) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            tokio::spawn(async move {
                let mut heard = b"heard: ".to_vec();
                if stream.read_to_end(&mut heard).await.is_ok() {
                    stream.write_all(&heard).await.unwrap();
                }
            });
        }
    });
    let b = tls::server(&identity(folder, "server", expected_client)).unwrap();
    let b_addr = relay(server_addr, Side::Server(b)).await;
    let a = tls::client(&identity(folder, "client", expected_server)).unwrap();
    relay(b_addr, Side::Client(a)).await
}

async fn relay(connect: SocketAddr, side: Side) -> SocketAddr {
    let (listener, listen) = listen().await;
    tokio::spawn(accept(listener, Route { listen, connect, buffer: 16 * 1024 }, side));
    listen
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn identity(folder: &Path, name: &str, peer: &str) -> Identity {
    Identity {
        cert: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
        anchors: folder.join("ca.crt"),
        peer: peer.into(),
    }
}

fn certificates(test: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (name, uri) in [("client", CLIENT), ("server", SERVER)] {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        std::fs::write(folder.join(format!("{name}.crt")), leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    folder
}
