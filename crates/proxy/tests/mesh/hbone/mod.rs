//! HBONE against a peer that shares no code with the proxy: its client calls our callee, our caller
//! calls its server.

mod callee;
mod caller;
mod http;

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use serde_json::Value;
use tokio::runtime::Handle;
use weft_hbone_peer::client::{self, Head, Tunnel};
use weft_hbone_peer::event::Events;
use weft_hbone_peer::server::{self, Rules};
use weft_hbone_peer::tls::{self, Files};

use crate::harness::*;

/// Where the peer's tasks run, for as long as the tests do.
static PEERS: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// What a peer tells.
struct Told(Receiver<Value>);

impl Told {
    /// The next event of this kind; others are passed over.
    fn next(&self, kind: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let event = match self.0.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => panic!("no event {kind}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the peer has ended"),
            };
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// How many events of this kind have been told and not read.
    fn count(&self, kind: &str) -> usize {
        self.0.try_iter().filter(|event| event["event"] == kind).count()
    }
}

fn events() -> (Events, Told) {
    let (send, receive) = channel();
    // A test that is over doesn't read any more.
    (Arc::new(move |event| drop(send.send(event))), Told(receive))
}

/// Certificate, key and anchors of an account of the mesh, as files. They are read at once.
fn files(mesh: &Mesh, account: &str) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let pem = mesh.authority.to_pem();
    let issuer_key = KeyPair::from_pem(&pem.issuer_key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pem.issuer_certificate, issuer_key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id(account).as_str().try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = Files {
        cert: write("leaf.crt", leaf.pem() + &pem.issuer_certificate),
        key: write("leaf.key", key.serialize_pem()),
        ca: write("ca.crt", pem.root_certificate.clone()),
    };
    (folder, files)
}

/// The peer as a caller, as `account`, of `expected` at `target`.
fn connect(mesh: &Mesh, account: &str, target: SocketAddr, expected: &str) -> Result<(Tunnel, Told), String> {
    let (_folder, files) = files(mesh, account);
    let config = tls::client(&files, vec![id(expected).to_string()]).unwrap();
    let (events, told) = events();
    let tunnel = PEERS.block_on(client::connect(target, config, events))?;
    Ok((tunnel, told))
}

/// The peer as a callee, as `account`.
fn serve(mesh: &Mesh, account: &str, rules: Rules) -> (SocketAddr, Told) {
    let (_folder, files) = files(mesh, account);
    let config = tls::server(&files).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (events, told) = events();
    PEERS.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        server::serve(listener, config, rules, events).await
    });
    (address, told)
}

fn to(authority: impl ToString) -> Head {
    Head { authority: authority.to_string(), fields: Vec::new() }
}
