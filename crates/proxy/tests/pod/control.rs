//! A control plane over TLS: certificates for a token and no client certificate; records for a client
//! certificate and no token. It knows what the test tells it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use weft_identity::{Authority, AuthorityLifetimes, peer_identity, provider};
use weft_mesh::record::{Cidr, Destination, Inbound, Trust};
use weft_mesh::{SpiffeId, TrustDomain};
use weft_wire::proto::envoy::service::discovery::v3 as xds;
use weft_wire::proto::istio::v1::auth as ca;
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_TYPE};
use xds::aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};

type Responses = mpsc::Sender<Result<xds::DeltaDiscoveryResponse, Status>>;

#[derive(Clone)]
pub(crate) struct Control(Arc<State>);

struct State {
    authority: Authority,
    /// How long certificates hold.
    lifetime: Duration,
    /// Who has which token.
    tokens: HashMap<String, SpiffeId>,
    inbound: Mutex<Vec<Inbound>>,
    destinations: Mutex<Vec<Destination>>,
    streams: Mutex<Vec<(String, Responses)>>,
    /// Who has opened a stream of records, by certificate.
    seen: Mutex<Vec<(SpiffeId, Vec<u8>)>>,
    /// Ends those who serve.
    end: Notify,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Peer(Option<(SpiffeId, Vec<u8>)>);

struct Connection(TlsStream<TcpStream>, Peer);

impl Control {
    pub(crate) fn new(
        tokens: &[(&str, SpiffeId)],
        lifetime: Duration,
        (inbound, destinations): (Vec<Inbound>, Vec<Destination>),
    ) -> Self {
        let domain = TrustDomain::default();
        let authority = Authority::generate(&domain, SystemTime::now(), AuthorityLifetimes::default()).unwrap();
        let tokens = tokens.iter().map(|(token, id)| ((*token).to_owned(), id.clone())).collect();
        let (inbound, destinations) = (Mutex::new(inbound), Mutex::new(destinations));
        let (streams, seen) = (Mutex::default(), Mutex::default());
        let end = Notify::new();
        Self(Arc::new(State { authority, lifetime, tokens, inbound, destinations, streams, seen, end }))
    }

    pub(crate) fn identity() -> SpiffeId {
        "spiffe://cluster.local/ns/weft/sa/weft-controller".parse().unwrap()
    }

    /// The anchors as the injector writes them.
    pub(crate) fn anchors_pem(&self) -> String {
        self.0.authority.to_pem().unwrap().root_certificate.clone()
    }

    /// Serves until it is ended, or the test is, in the namespace of this thread.
    pub(crate) fn serve(&self, at: SocketAddr) {
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let control = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = control.clone().accept(listener) => {}
                    () = control.0.end.notified() => {}
                }
            });
        });
    }

    /// Ends whoever serves, and with it all that is open there.
    pub(crate) fn end(&self) {
        self.0.end.notify_one();
    }

    async fn accept(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        let (accepted, incoming) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let peer = stream
                        .get_ref()
                        .1
                        .peer_certificates()
                        .map(|chain| (peer_identity(chain).unwrap(), chain[0].to_vec()));
                    // The server may have ended.
                    let _ended = accepted.send(Ok::<_, io::Error>(Connection(stream, Peer(peer)))).await;
                });
            }
        });
        tonic::transport::Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(self.clone()))
            .add_service(ca::istio_certificate_service_server::IstioCertificateServiceServer::new(self))
            .serve_with_incoming(ReceiverStream::new(incoming))
            .await
            .unwrap();
    }

    fn config(&self) -> ServerConfig {
        let key = rcgen::KeyPair::generate().unwrap();
        let id = Self::identity();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![rcgen::SanType::URI(id.as_str().try_into().unwrap())];
        let csr = params.serialize_request(&key).unwrap().pem().unwrap();
        let now = SystemTime::now();
        let signed = self.0.authority.sign(&csr, &id, Duration::from_secs(3600), now).unwrap();
        let chain = signed.chain_pem.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
        let mut roots = RootCertStore::empty();
        for anchor in self.0.authority.anchors() {
            roots.add(anchor.into()).unwrap();
        }
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        let clients = clients.allow_unauthenticated().build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.collect(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Changes a workload's record and sends it.
    pub(crate) fn change(&self, workload: &str, change: impl Fn(&mut Inbound)) {
        let mut all = self.0.inbound.lock().unwrap();
        let found = all.iter_mut().find(|inbound| inbound.workload.as_str() == workload).unwrap();
        change(found);
        let response = response(INBOUND_TYPE, &[Record::Inbound(found.clone())], &[]);
        for (_, stream) in self.0.streams.lock().unwrap().iter().filter(|(node, _)| node == workload) {
            // Former streams of the workload are closed.
            let _closed = stream.blocking_send(Ok(response.clone()));
        }
    }

    /// Changes a destination's record and sends it to those who talk to it.
    pub(crate) fn replace(&self, destination: Destination, callers: &[&str]) {
        let mut all = self.0.destinations.lock().unwrap();
        all.retain(|other| other.host != destination.host);
        all.push(destination.clone());
        let response = response(DESTINATION_TYPE, &[Record::Destination(destination)], &[]);
        for (_, stream) in self.0.streams.lock().unwrap().iter().filter(|(node, _)| callers.contains(&node.as_str())) {
            // Former streams of the workload are closed.
            let _closed = stream.blocking_send(Ok(response.clone()));
        }
    }

    /// How many different certificates of this identity have opened streams.
    pub(crate) fn certificates_of(&self, id: &SpiffeId) -> usize {
        let seen = self.0.seen.lock().unwrap();
        let mut certificates: Vec<&Vec<u8>> = seen.iter().filter(|(who, _)| who == id).map(|(_, der)| der).collect();
        certificates.dedup();
        certificates.len()
    }

    fn answer(&self, request: &xds::DeltaDiscoveryRequest) -> Vec<xds::DeltaDiscoveryResponse> {
        let names = &request.resource_names_subscribe;
        if names.is_empty() {
            return Vec::new();
        }
        let mut gone: Vec<&str> = Vec::new();
        let mut records = Vec::new();
        for name in names {
            let record = match request.type_url.as_str() {
                TRUST_TYPE => {
                    let anchors = self.0.authority.anchors();
                    let networks =
                        [("10.0.0.0", 8), ("fd00::", 8)].map(|(ip, bits)| Cidr::new(ip.parse().unwrap(), bits));
                    let networks = networks.into_iter().flatten().collect();
                    Some(Record::Trust(Trust { domain: TrustDomain::default(), anchors, networks }))
                }
                INBOUND_TYPE => {
                    let all = self.0.inbound.lock().unwrap();
                    all.iter().find(|inbound| inbound.workload.as_str() == name).cloned().map(Record::Inbound)
                }
                _ => self
                    .0
                    .destinations
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|d| is_named(d, name))
                    .cloned()
                    .map(Record::Destination),
            };
            match record {
                Some(record) => records.push(record),
                None => gone.push(name),
            }
        }
        vec![response(&request.type_url, &records, &gone)]
    }
}

fn is_named(destination: &Destination, name: &str) -> bool {
    let mut ips = destination.addresses.iter();
    destination.host == name || ips.any(|ip| ip.to_string() == name)
}

fn response(type_url: &str, records: &[Record], gone: &[&str]) -> xds::DeltaDiscoveryResponse {
    let resource = |record: &Record| xds::Resource {
        version: "1".to_owned(),
        resource: Some(prost_types::Any { type_url: record.type_url().to_owned(), value: record.encode() }),
        name: record.name().to_owned(),
        aliases: record.aliases(),
    };
    xds::DeltaDiscoveryResponse {
        resources: records.iter().map(resource).collect(),
        type_url: type_url.to_owned(),
        nonce: type_url.to_owned(),
        removed_resources: gone.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Control {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<xds::DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<xds::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let Some(Peer(Some(peer))) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::unauthenticated("expected a client certificate"));
        };
        if request.metadata().contains_key("authorization") {
            return Err(Status::unauthenticated("expected no token"));
        }
        self.0.seen.lock().unwrap().push(peer);
        let (sender, receiver) = mpsc::channel(16);
        let (control, mut stream) = (self.clone(), request.into_inner());
        let mut node = None;
        tokio::spawn(async move {
            let weak = sender.downgrade();
            let mut sender = Some(sender);
            while let Ok(Some(request)) = stream.message().await {
                if node.is_none() {
                    node = request.node.as_ref().map(|node| node.id.clone());
                    let own = (node.clone().unwrap_or_default(), sender.take().unwrap());
                    control.0.streams.lock().unwrap().push(own);
                }
                let Some(sender) = weak.upgrade() else { return };
                assert!(request.error_detail.is_none(), "{request:?}");
                for response in control.answer(&request) {
                    let _ended = sender.send(Ok(response)).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl ca::istio_certificate_service_server::IstioCertificateService for Control {
    async fn create_certificate(
        &self,
        request: Request<ca::IstioCertificateRequest>,
    ) -> Result<Response<ca::IstioCertificateResponse>, Status> {
        if !matches!(request.extensions().get::<Peer>(), Some(Peer(None))) {
            return Err(Status::unauthenticated("expected no client certificate"));
        }
        let bearer = request.metadata().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let token = bearer.strip_prefix("Bearer ").unwrap_or_default();
        let id = self.0.tokens.get(token).ok_or_else(|| Status::unauthenticated("expected a token"))?;
        let signed = self.0.authority.sign(&request.get_ref().csr, id, self.0.lifetime, SystemTime::now());
        let signed = signed.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(ca::IstioCertificateResponse { cert_chain: signed.chain_pem }))
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.1.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
