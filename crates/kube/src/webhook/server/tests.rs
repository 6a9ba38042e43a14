use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use futures_util::FutureExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weft_identity::{NamedServer, provider};

use super::*;
use crate::client::tests::silent;
use crate::clock::{Clock, eventually};
use crate::webhook::body::BODY_TIMEOUT;

const HOST: &str = "weft-webhooks";
/// API servers call from there.
const API_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 1);

/// Webhooks on loopback, whose API server says nothing.
struct Webhooks {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    _api_server: std::net::TcpListener,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Webhooks {
    async fn start() -> Self {
        let named = NamedServer::generate(&[HOST], Duration::from_secs(3_600), SystemTime::now()).unwrap();
        let config = NamedServer::config(named.certificate_pem.as_bytes(), named.key_pem.as_bytes()).unwrap();
        let (_tls, tls) = watch::channel(Some(config));
        let (client, api_server) = silent();
        let (_configs, config) = watch::channel(Arc::new(answer::tests::config()));
        let (events, _posting) = Events::new(client.clone());
        let (namespaces, metrics, room) = Default::default();
        let injector = Injector { client, namespaces, config, events, metrics, room };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(run(listener, tls, Arc::new(injector), async {
            // They are served as long as nobody says so.
            if ended.await.is_err() {
                std::future::pending().await
            }
        }));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(named.authority_pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        Self {
            address,
            end,
            served,
            _api_server: api_server,
            config: Arc::new(config.with_root_certificates(roots).with_no_client_auth()),
        }
    }

    async fn connect(&self, from: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await
    }

    /// A connection whose handshake is done; an error where there was no place for it.
    async fn shaken(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let (tls, name) = (TlsConnector::from(Arc::clone(&self.config)), ServerName::try_from(HOST).unwrap());
        tls.connect(name, self.connect(from).await?).await
    }

    async fn is_answered(&self, from: Ipv4Addr) -> bool {
        let Ok(mut stream) = self.shaken(from).await else { return false };
        is_asked(&mut stream).await
    }
}

/// Asks what is answered without an API server.
async fn is_asked(stream: &mut TlsStream<TcpStream>) -> bool {
    let body = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u"}}"#;
    let head = format!("POST {VALIDATE} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await.unwrap_or_default();
    answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n")
}

/// Whether the server has closed the connection; what it says is passed over.
fn is_closed(stream: &TcpStream) -> bool {
    loop {
        match stream.try_read(&mut [0; 4_096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Lets this process have both ends of so many connections.
fn may_open(connections: usize) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= 2 * connections as u64 + 256, "{hard} files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[tokio::test]
async fn an_address_that_floods_keeps_the_api_server_out_of_a_quarter() {
    may_open(MAX_OF_ONE_ADDRESS);
    let webhooks = Webhooks::start().await;
    let flooder = Ipv4Addr::new(127, 0, 3, 2);
    let mut flood = Vec::new();
    for _ in 0..2 * MAX_OF_ONE_ADDRESS {
        flood.push(webhooks.connect(flooder).await.unwrap());
        // No more are accepted at once than the listener's queue holds.
        if flood.len() % 64 == 0 {
            assert!(webhooks.is_answered(API_SERVER).await);
        }
    }
    let open = || flood.iter().filter(|stream| !is_closed(stream)).count();
    eventually(|| open() == MAX_OF_ONE_ADDRESS).await;
    assert!(!webhooks.is_answered(flooder).await, "it has its fill");
    assert!(webhooks.is_answered(API_SERVER).await);
}

#[tokio::test]
async fn who_fills_every_place_and_asks_nothing_gives_them_back() {
    may_open(MAX_CONNECTIONS);
    let webhooks = Webhooks::start().await;
    let clock = Clock::stop();
    let mut used = webhooks.shaken(API_SERVER).await.unwrap();
    assert!(is_asked(&mut used).await);
    let mut silent = Vec::new();
    for flooder in 1..=4 {
        for _ in 0..MAX_OF_ONE_ADDRESS {
            // The last one finds the API server's place taken.
            silent.extend(webhooks.shaken(Ipv4Addr::new(127, 0, 4, flooder)).await);
        }
    }
    assert_eq!(silent.len(), MAX_CONNECTIONS - 1);
    assert!(!webhooks.is_answered(API_SERVER).await, "there is no place");
    clock.ends(FIRST_QUESTION, || silent.iter().all(|stream| is_closed(stream.get_ref().0))).await;
    assert!(webhooks.is_answered(API_SERVER).await);
    assert!(is_asked(&mut used).await, "who has asked stays");
}

#[tokio::test]
async fn who_stalls_is_left_when_the_time_has_come() {
    let webhooks = Webhooks::start().await;
    let clock = Clock::stop();
    let unshaken = webhooks.connect(API_SERVER).await.unwrap();
    clock.ends(HANDSHAKE_TIMEOUT, || is_closed(&unshaken)).await;
    let mut half = webhooks.shaken(API_SERVER).await.unwrap();
    half.write_all(format!("POST {VALIDATE} HTTP/1.1\r\nhost: ").as_bytes()).await.unwrap();
    clock.ends(FIRST_QUESTION, || is_closed(half.get_ref().0)).await;
    let mut idle = webhooks.shaken(API_SERVER).await.unwrap();
    assert!(is_asked(&mut idle).await);
    clock.ends(IDLE_TIMEOUT, || is_closed(idle.get_ref().0)).await;
}

#[tokio::test]
async fn a_question_that_is_not_ended_or_that_nobody_can_help_to_answer_is_answered_in_time() {
    let webhooks = Webhooks::start().await;
    let clock = Clock::stop();
    let mut half = webhooks.shaken(API_SERVER).await.unwrap();
    half.write_all(format!("POST {INJECT} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\n{{").as_bytes())
        .await
        .unwrap();
    clock.ends(BODY_TIMEOUT, || says(&mut half, "HTTP/1.1 408 ")).await;
    let mut pod = webhooks.shaken(API_SERVER).await.unwrap();
    let body = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",
        "kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"shop","operation":"CREATE","object":{}}}"#;
    let head = format!("POST {INJECT} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", body.len());
    pod.write_all((head + body).as_bytes()).await.unwrap();
    clock.ends(LOOKUP_TIMEOUT, || says(&mut pod, "HTTP/1.1 503 ")).await;
}

#[tokio::test]
async fn who_does_not_hear_of_the_end_is_served_for_a_while_and_who_stalls_is_cut_off() {
    let mut webhooks = Webhooks::start().await;
    let clock = Clock::stop();
    let mut idle = webhooks.shaken(API_SERVER).await.unwrap();
    assert!(is_asked(&mut idle).await);
    let unshaken = webhooks.connect(API_SERVER).await.unwrap();
    let begun = Instant::now();
    webhooks.end.send(()).unwrap();
    (webhooks.end, _) = oneshot::channel();
    assert!(webhooks.is_answered(API_SERVER).await, "another controller's place isn't known yet");
    clock.ends(LINGER, || is_closed(idle.get_ref().0)).await;
    assert!(webhooks.shaken(API_SERVER).await.is_err(), "nobody listens");
    clock.ends(DRAIN_TIME, || is_closed(&unshaken) && webhooks.served.is_finished()).await;
    assert!(begun.elapsed() < HANDSHAKE_TIMEOUT, "it isn't its handshake that has ended");
}

/// Whether an answer has come, which must be this one.
fn says(stream: &mut TlsStream<TcpStream>, status: &str) -> bool {
    let mut answer = [0; 512];
    let Some(length) = stream.read(&mut answer).now_or_never() else { return false };
    let answer = String::from_utf8_lossy(&answer[..length.unwrap()]).into_owned();
    assert!(answer.starts_with(status), "{answer}");
    true
}
