//! A control plane that stalls, over real sockets; the clock goes on when the test says so.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use weft_identity::{Authority, AuthorityLifetimes, provider};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};
use weft_wire::bootstrap;
use weft_wire::proto::istio::v1::auth::IstioCertificateRequest;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;

use super::*;
use crate::clock::{Clock, eventually};
use crate::config::{ControlAddress, NetworkControl};
use crate::limits::*;
use crate::records::Presence;

// RFC 9113, 6: frames by their types.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PREFACE_BYTES: usize = 24;

/// The types of the frames that a control plane was sent.
type Heard = Rc<RefCell<Vec<u8>>>;

fn count(heard: &Heard, kind: u8) -> usize {
    heard.borrow().iter().filter(|heard| **heard == kind).count()
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::new(&TrustDomain::default(), "default", account).unwrap()
}

fn config(address: ControlAddress) -> ControlConfig {
    ControlConfig { address, workload: "default/api-1".parse().unwrap(), identity: id("api") }
}

/// Reads, and says no more than `answer`, once.
async fn stall(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], heard: Heard) {
    stream.write_all(answer).await.unwrap();
    stream.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        heard.borrow_mut().push(head[3]);
        let mut rest = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut rest).await.unwrap();
    }
}

/// A control plane on a Unix socket that says no more than `answer` to whom it takes first.
fn on_socket(answer: &'static [u8]) -> (ControlConfig, Heard, tempfile::TempDir) {
    let (folder, heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let socket = folder.path().join("control");
    let listener = UnixListener::bind(&socket).unwrap();
    let told = heard.clone();
    spawn_local(async move {
        stall(listener.accept().await.unwrap().0, answer, told).await;
        // Who comes later is not taken.
        std::future::pending::<()>().await;
        drop(listener);
    });
    let address = bootstrap::ControlAddress { socket, token: "a token".to_owned() };
    (config(ControlAddress::Socket(address)), heard, folder)
}

/// The way to a control plane in a cluster, the authority that it is of, and the token's file.
fn in_cluster(address: SocketAddr) -> (ControlConfig, Authority, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "a token").unwrap();
    let authority =
        Authority::generate(&TrustDomain::default(), SystemTime::now(), AuthorityLifetimes::default()).unwrap();
    let trust = Trust { anchors: authority.anchors(), ..Trust::default() };
    let control = NetworkControl { address, name: None, identity: id("control"), trust, token_file };
    (config(ControlAddress::Network(control)), authority, folder)
}

/// One that shakes hands, and says nothing more.
async fn over_network() -> (ControlConfig, Heard, tempfile::TempDir) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (config, authority, folder) = in_cluster(listener.local_addr().unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(id("control").as_str().try_into().unwrap())];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let signed = authority.sign(&csr, &id("control"), Duration::from_secs(3_600), SystemTime::now()).unwrap();
    let chain = signed.chain_pem.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let heard = Heard::default();
    let told = heard.clone();
    spawn_local(async move {
        let tls = TlsAcceptor::from(Arc::new(tls));
        while let Ok((accepted, _)) = listener.accept().await {
            stall(tls.accept(accepted).await.unwrap(), &SETTINGS, told.clone()).await;
        }
    });
    (config, heard, folder)
}

/// Asks for a certificate, and waits as long as the connection lasts.
async fn ask(config: &ControlConfig) -> Result<(), tonic::Status> {
    let (channel, request) = Link::new(config).asking(IstioCertificateRequest::default())?;
    IstioCertificateServiceClient::new(channel).create_certificate(request).await.map(drop)
}

/// Keeps a certificate that never comes, and sees each request given up when its time is over, and made again.
async fn requests_are_given_up((config, heard, _folder): (ControlConfig, Heard, tempfile::TempDir), wait: Duration) {
    let clock = Clock::stop();
    spawn_local(async move {
        let (told, _updates) = mpsc::channel(1);
        certificate::keep(&Link::new(&config), &config, (told, &watch::Sender::default())).await;
    });
    eventually(|| count(&heard, HEADERS) == 1).await;
    clock.ends(wait, || count(&heard, RST_STREAM) == 1).await;
    tokio::time::advance(RECONNECT_SPREAD).await;
    eventually(|| count(&heard, HEADERS) == 2).await;
}

#[tokio::test]
async fn a_request_for_a_certificate_that_is_not_answered_is_made_again() {
    LocalSet::new().run_until(async { requests_are_given_up(on_socket(&SETTINGS), CERTIFICATE_WAIT).await }).await;
}

#[tokio::test]
async fn over_the_network_it_is_waited_for_longer() {
    let asked = async { requests_are_given_up(over_network().await, CERTIFICATE_WAIT_NETWORK).await };
    LocalSet::new().run_until(asked).await;
}

#[tokio::test]
async fn a_control_plane_that_does_not_shake_hands_is_given_up() {
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (config, _authority, _folder) = in_cluster(silent.local_addr().unwrap());
    let clock = Clock::stop();
    LocalSet::new()
        .run_until(async {
            let asked = spawn_local(async move { ask(&config).await });
            clock.ends(CONTROL_CONNECT, || asked.is_finished()).await;
            asked.await.unwrap().unwrap_err();
        })
        .await;
}

#[tokio::test]
async fn a_control_plane_with_another_address_is_found_by_its_name() {
    LocalSet::new()
        .run_until(async {
            let (mut config, heard, _folder) = over_network().await;
            let ControlAddress::Network(control) = &mut config.address else { unreachable!("it is over the network") };
            control.name = Some(format!("localhost:{}", control.address.port()));
            control.address = (Ipv4Addr::new(127, 0, 0, 9), control.address.port()).into();
            spawn_local(async move { ask(&config).await });
            eventually(|| count(&heard, HEADERS) == 1).await;
        })
        .await;
}

#[tokio::test]
async fn a_control_plane_that_answers_no_ping_is_given_up() {
    LocalSet::new()
        .run_until(async {
            let (config, heard, _folder) = over_network().await;
            let clock = Clock::stop();
            let asked = spawn_local(async move { ask(&config).await });
            eventually(|| count(&heard, HEADERS) == 1).await;
            clock.ends(CONTROL_PING, || count(&heard, PING) == 1).await;
            clock.ends(CONTROL_PING_WAIT, || asked.is_finished()).await;
            asked.await.unwrap().unwrap_err();
        })
        .await;
}

/// While it is there, what is outside of the mesh is refused that it doesn't tell of.
#[tokio::test]
async fn a_control_plane_that_is_stopped_counts_as_away() {
    // RFC 9113, 6.2, RFC 7541, 6: the head of an answer on stream 1, `:status: 200` and `content-type`.
    const ANSWERED: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x13\x01\x04\0\0\0\x01\x88\x5f\x10application/grpc";
    LocalSet::new()
        .run_until(async {
            let (config, heard, _folder) = on_socket(ANSWERED);
            let clock = Clock::stop();
            let (told, mut updates) = mpsc::channel(4);
            let (_orders, asked) = mpsc::unbounded_channel();
            spawn_local(async move {
                let known = watch::Sender::default();
                discovery::follow(&Link::new(&config), &config, (told, &known), asked).await;
            });
            let is = |update, wanted| matches!(update, Update::Control(presence) if presence == wanted);
            assert!(is(updates.recv().await.unwrap(), Presence::There));
            clock.ends(CONTROL_PING, || count(&heard, PING) == 1).await;
            clock.ends(CONTROL_PING_WAIT, || updates.try_recv().is_ok_and(|update| is(update, Presence::Away))).await;
        })
        .await;
}

#[tokio::test]
async fn proxies_that_lost_the_control_plane_come_back_one_after_another() {
    let (config, _authority, _folder) = in_cluster(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let link = Link::new(&config);
    let rests = |attempt| -> Vec<Duration> { (0..100).map(|_| link.retry_after(attempt)).collect() };
    assert!(rests(0).iter().all(|rest| *rest <= RECONNECT_SPREAD / 8), "soon at first");
    for attempt in [3, 40, u32::MAX] {
        let rests = rests(attempt);
        assert!(rests.iter().all(|rest| *rest <= RECONNECT_SPREAD));
        // That all are in one half is chance once in 2^100 times.
        assert!(rests.iter().any(|rest| *rest > RECONNECT_SPREAD / 2));
        assert!(rests.iter().any(|rest| *rest < RECONNECT_SPREAD / 2));
    }
}
