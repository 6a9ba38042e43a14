//! The peer of HBONE, as tests run it: tasks of its own, certificates of the mesh, and what it tells.

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
pub(crate) static PEERS: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// What a peer tells.
pub(crate) struct Told(pub(crate) Receiver<Value>);

impl Told {
    /// The next event of this kind; others are passed over.
    pub(crate) fn next(&self, kind: &str) -> Value {
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
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.try_iter().filter(|event| event["event"] == kind).count()
    }
}

fn events() -> (Events, Told) {
    let (send, receive) = channel();
    // A test that is over doesn't read any more.
    (Arc::new(move |event| drop(send.send(event))), Told(receive))
}

/// Certificate, key and anchors of an identity that the mesh's authority vouches for, as files. They are
/// read at once.
pub(crate) fn files(mesh: &Mesh, identity: &str) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let pem = mesh.authority.to_pem().unwrap();
    let issuer_key = KeyPair::from_pem(&pem.issuer_key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pem.issuer_certificate, issuer_key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
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
pub(crate) fn connect(
    mesh: &Mesh,
    account: &str,
    target: SocketAddr,
    expected: &str,
) -> Result<(Tunnel, Told), String> {
    let (_folder, files) = files(mesh, id(account).as_str());
    connect_by(tls::client(&files, vec![id(expected).to_string()]).unwrap(), target)
}

/// The same, with TLS of its own.
pub(crate) fn connect_by(config: Arc<rustls::ClientConfig>, target: SocketAddr) -> Result<(Tunnel, Told), String> {
    let (events, told) = events();
    let tunnel = PEERS.block_on(client::connect(target, config, events))?;
    Ok((tunnel, told))
}

/// The peer as a callee, as `account`.
pub(crate) fn serve(mesh: &Mesh, account: &str, rules: Rules) -> (SocketAddr, Told) {
    let (_folder, files) = files(mesh, id(account).as_str());
    serve_by(tls::server(&files).unwrap(), rules)
}

/// The same, with TLS of its own.
pub(crate) fn serve_by(config: Arc<rustls::ServerConfig>, rules: Rules) -> (SocketAddr, Told) {
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

pub(crate) fn to(authority: impl ToString) -> Head {
    Head { authority: authority.to_string(), fields: Vec::new() }
}
