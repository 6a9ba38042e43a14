//! The services over the network: TLS, a certificate for whom the authenticator knows, and records for
//! whom a certificate proves.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use tower_service::Service;
use weft_compile::{Proxy, Settings, Workload};
use weft_control::{Authenticator, Caller, Claim, ControlError, Facts, Mesh, Services, Shared};
use weft_identity::{
    Authority, AuthorityLifetimes, Credential, LeafKey, MeshTls, client_config_without_identity, server_name,
};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};
use weft_wire::WORKLOAD_KEY;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use weft_wire::proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use weft_wire::proto::istio::v1::auth::IstioCertificateRequest;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::record::{INBOUND_TYPE, Record};

use crate::harness::soon;

#[tokio::test]
async fn a_pod_is_certified_by_its_token_and_known_by_its_certificate() {
    let plane = Plane::start().await;
    let credential = plane.certified("pod-token").await.unwrap();
    assert_eq!(*credential.id(), identity("web"));
    let tls = MeshTls::new(credential, &plane.trust()).unwrap();
    let config = tls.client_config(&[identity("weft-controller")], &[b"h2"]);
    let record = plane.inbound(config.clone(), "shop/web-1").await.unwrap();
    assert!(matches!(record, Record::Inbound(inbound) if inbound.identity == identity("web")));
    let stranger = plane.inbound(config, "shop/api-1").await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated, "of another account");
    plane.end().await;
}

#[tokio::test]
async fn who_proves_nothing_gets_nothing() {
    let plane = Plane::start().await;
    assert_eq!(plane.certified("guessed").await.unwrap_err().code(), Code::Unauthenticated);
    let nobody = plane.inbound(plane.anonymous(), "shop/web-1").await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated, "a certificate is needed for records");
    let other = Authority::generate(&TrustDomain::default(), SystemTime::now(), AuthorityLifetimes::default()).unwrap();
    let key = LeafKey::generate().unwrap();
    let csr = key.csr_pem(&identity("web")).unwrap();
    let leaf = other.sign(&csr, &identity("web"), Duration::from_secs(600), SystemTime::now()).unwrap();
    let forged = Arc::new(Credential::new(key, &leaf.chain_pem, SystemTime::now()).unwrap());
    let tls = MeshTls::new(forged, &plane.trust()).unwrap();
    let config = tls.client_config(&[identity("weft-controller")], &[b"h2"]);
    plane.inbound(config, "shop/web-1").await.unwrap_err();
    plane.end().await;
}

#[tokio::test]
async fn without_an_issuer_it_serves_what_it_can() {
    let plane = Plane::start().await;
    let credential = plane.certified("pod-token").await.unwrap();
    let tls = MeshTls::new(credential, &plane.trust()).unwrap();
    plane.signing.send_replace(None);
    assert_eq!(plane.certified("pod-token").await.unwrap_err().code(), Code::Unavailable);
    plane.inbound(tls.client_config(&[identity("weft-controller")], &[b"h2"]), "shop/web-1").await.unwrap();
    plane.end().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let plane = Plane::start().await;
    let tls = MeshTls::new(plane.certified_for("pod-token", 3).await.unwrap(), &plane.trust()).unwrap();
    let config = tls.client_config(&[identity("weft-controller")], &[b"h2"]);
    let (_requests, mut stream) = plane.stream(config, "shop/web-1").await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    soon(stream.message()).await.expect_err("expected the end, since nothing else changes");
    plane.end().await;
}

#[tokio::test]
async fn the_command_line_asks_and_cannot_launch() {
    let plane = Plane::start().await;
    let channel = Endpoint::from_shared(format!("http://{}", plane.command_line)).unwrap().connect().await.unwrap();
    let mut client = ControlClient::new(channel);
    let target = "shop/web-1".to_owned();
    let records = client.get_inbound(proto::GetInboundRequest { target }).await.unwrap().into_inner().records;
    assert_eq!(records.len(), 1);
    let workloads = client.list_workloads(proto::ListWorkloadsRequest {}).await.unwrap().into_inner().workloads;
    assert_eq!(workloads.len(), 2);
    let refused = client.shutdown(proto::ShutdownRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    plane.end().await;
}

/// A control plane of two pods, on loopback.
pub(crate) struct Plane {
    shared: Shared,
    authority: Arc<Authority>,
    signing: watch::Sender<Option<Arc<Authority>>>,
    pub(crate) proxies: SocketAddr,
    pub(crate) command_line: SocketAddr,
    served: [JoinHandle<Result<(), ControlError>>; 2],
}

impl Plane {
    pub(crate) async fn start() -> Self {
        let now = SystemTime::now();
        let authority = Authority::generate(&TrustDomain::default(), now, AuthorityLifetimes::default()).unwrap();
        let authority = Arc::new(authority);
        let mut mesh = Mesh::new(Settings::default());
        mesh.put_workload(pod("web"));
        mesh.put_workload(pod("api"));
        let shared = Shared::new(mesh);
        let (signing, receiver) = watch::channel(Some(Arc::clone(&authority)));
        let services =
            Services::new(shared.clone(), Arc::new(Pods(shared.clone())), receiver, Duration::from_secs(600));
        let (proxies, command_line) = (listener().await, listener().await);
        let addresses = (proxies.local_addr().unwrap(), command_line.local_addr().unwrap());
        let (one, other) = (services.clone(), services);
        let facts = Facts { trust_domain: "cluster.local".to_owned(), folder: None, started_at: now, metrics: None };
        let served = [
            tokio::spawn(async move { one.serve_proxies(proxies, identity("weft-controller")).await }),
            tokio::spawn(async move { other.serve_command_line(command_line, facts).await }),
        ];
        Self { shared, authority, signing, proxies: addresses.0, command_line: addresses.1, served }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust { anchors: self.authority.anchors(), ..Trust::default() }
    }

    pub(crate) fn anonymous(&self) -> Arc<ClientConfig> {
        client_config_without_identity(&self.trust(), &[identity("weft-controller")], &[b"h2"]).unwrap()
    }

    async fn channel(&self, config: Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
        let connector = Secured { to: self.proxies, config };
        soon(Endpoint::from_static("http://control").connect_with_connector(connector)).await
    }

    pub(crate) async fn certified(&self, token: &str) -> Result<Arc<Credential>, Status> {
        self.certified_for(token, 60).await
    }

    pub(crate) async fn certified_for(&self, token: &str, seconds: i64) -> Result<Arc<Credential>, Status> {
        // The listener turns callers away until it has its own certificate.
        let channel = soon(async {
            loop {
                match self.channel(self.anonymous()).await {
                    Ok(channel) => break channel,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let key = LeafKey::generate().unwrap();
        let mut request = Request::new(IstioCertificateRequest {
            csr: key.csr_pem(&identity("web")).unwrap(),
            validity_duration: seconds,
        });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let answer = soon(IstioCertificateServiceClient::new(channel).create_certificate(request)).await?.into_inner();
        Ok(Arc::new(Credential::new(key, &answer.cert_chain, SystemTime::now()).unwrap()))
    }

    /// The inbound record that a workload's proxy is told.
    async fn inbound(&self, config: Arc<ClientConfig>, workload: &str) -> Result<Record, Status> {
        let (_requests, mut stream) = self.stream(config, workload).await?;
        let response = soon(stream.message()).await?.unwrap();
        let any = response.resources[0].resource.as_ref().unwrap();
        Ok(Record::decode(&any.type_url, &any.value).unwrap())
    }

    /// A stream that has asked for the inbound record, as long as its other half lives.
    pub(crate) async fn stream(
        &self,
        config: Arc<ClientConfig>,
        workload: &str,
    ) -> Result<(Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>), Status> {
        let to = self.channel(config).await.map_err(|error| Status::unknown(error.to_string()))?;
        let (requests, receiver) = channel(1);
        let ask = DeltaDiscoveryRequest {
            type_url: INBOUND_TYPE.to_owned(),
            resource_names_subscribe: vec![workload.to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(ask).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(WORKLOAD_KEY, workload.parse().unwrap());
        let mut client = AggregatedDiscoveryServiceClient::new(to);
        Ok((requests, soon(client.delta_aggregated_resources(request)).await?.into_inner()))
    }

    /// Asks as a command line until somebody answers.
    pub(crate) async fn answers(&self) {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.command_line)).unwrap();
        let asked = || async { ControlClient::new(endpoint.connect_lazy()).status(proto::StatusRequest {}).await };
        soon(async { while asked().await.is_err() {} }).await;
    }

    pub(crate) async fn end(self) {
        self.shared.end();
        for served in self.served {
            soon(served).await.unwrap().unwrap();
        }
    }
}

/// Who has the one token is `shop/web-1`; for records a certificate of the workload's account is needed.
struct Pods(Shared);

#[tonic::async_trait]
impl Authenticator for Pods {
    async fn certifies(&self, claim: &Claim) -> Result<Caller, Status> {
        match (claim.token.as_deref(), claim.client.address) {
            (Some("pod-token"), Some(address)) if address.ip().is_loopback() => {
                Ok(Caller { workload: "shop/web-1".parse().unwrap(), identity: identity("web"), bearer: None })
            }
            _ => Err(Status::unauthenticated("expected a pod's token")),
        }
    }

    async fn admits(&self, claim: &Claim) -> Result<Caller, Status> {
        let known = claim.workload.as_ref().and_then(|id| self.0.with(|mesh| mesh.workload(id).cloned()));
        match known {
            Some(pod) if Some(&pod.identity) == claim.client.identity.as_ref() => {
                Ok(Caller { workload: pod.id, identity: pod.identity, bearer: None })
            }
            _ => Err(Status::unauthenticated("expected a pod's certificate")),
        }
    }
}

/// Connects to one address, whatever is asked for.
struct Secured {
    to: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Service<Uri> for Secured {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (to, connector) = (self.to, TlsConnector::from(Arc::clone(&self.config)));
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            Ok(TokioIo::new(connector.connect(server_name(), stream).await?))
        })
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn identity(account: &str) -> SpiffeId {
    SpiffeId::new(&TrustDomain::default(), "shop", account).unwrap()
}

fn pod(service: &str) -> Workload {
    Workload {
        id: WorkloadId::new("shop", &format!("{service}-1")).unwrap(),
        identity: identity(service),
        service: service.to_owned(),
        labels: Default::default(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        proxy: Proxy::Port(15008),
        ports: Vec::new(),
        default_inbound: None,
        owner: None,
        node: None,
    }
}
