//! Asks a control plane as a proxy does, and says what it answers: for what no honest proxy asks. It runs in
//! a pod's network, and is told everything.
//!
//! `asker ADDRESS ANCHORS TOKEN IDENTITY [WORKLOAD RECORD]` asks for a certificate with a token, in files,
//! and then, as the proxy of WORKLOAD, for the inbound record of RECORD.
#![expect(clippy::print_stdout, reason = "what it prints is all that it is for")]

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tower_service::Service;
use weft_identity::{Credential, LeafKey, MeshTls, client_config_without_identity, server_name};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};
use weft_wire::WORKLOAD_KEY;
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use weft_wire::proto::istio::v1::auth::IstioCertificateRequest;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use weft_wire::record::INBOUND_TYPE;

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [address, anchors, token, identity, rest @ ..] = words.as_slice() else {
        return Err("asker ADDRESS ANCHORS TOKEN IDENTITY [WORKLOAD RECORD]".into());
    };
    let anchors = pem::parse_many(fs::read(anchors)?)?.into_iter().map(pem::Pem::into_contents).collect();
    let control = Control {
        address: address.parse()?,
        trust: Trust { domain: TrustDomain::default(), anchors, ..Trust::default() },
    };
    let credential = match control.certificate(fs::read_to_string(token)?.trim(), &identity.parse()?).await? {
        Ok(credential) => credential,
        Err(status) => return told("certificate", &status),
    };
    println!("certificate: {}", credential.id());
    if let [workload, record] = rest {
        match control.record(credential, workload, record).await? {
            Ok(found) => println!("record: {found}"),
            Err(status) => return told("record", &status),
        }
    }
    Ok(())
}

fn told(what: &str, status: &Status) -> Result<(), Failure> {
    println!("{what} refused: {:?}: {}", status.code(), status.message());
    Ok(())
}

struct Control {
    address: SocketAddr,
    trust: Trust,
}

impl Control {
    async fn certificate(&self, token: &str, identity: &SpiffeId) -> Result<Result<Arc<Credential>, Status>, Failure> {
        let channel = self.channel(client_config_without_identity(&self.trust, &[controller()?], &[b"h2"])?).await?;
        let key = LeafKey::generate()?;
        let mut request = Request::new(IstioCertificateRequest { csr: key.csr_pem(identity)?, validity_duration: 600 });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        request.set_timeout(PATIENCE);
        match IstioCertificateServiceClient::new(channel).create_certificate(request).await {
            Ok(answer) => Ok(Ok(Arc::new(Credential::new(key, &answer.into_inner().cert_chain, SystemTime::now())?))),
            Err(status) => Ok(Err(status)),
        }
    }

    /// How many records came, the first time.
    async fn record(
        &self,
        credential: Arc<Credential>,
        workload: &str,
        record: &str,
    ) -> Result<Result<String, Status>, Failure> {
        let tls = MeshTls::new(credential, &self.trust)?;
        let channel = self.channel(tls.client_config(&[controller()?], &[b"h2"])).await?;
        let ask = DeltaDiscoveryRequest {
            type_url: INBOUND_TYPE.to_owned(),
            resource_names_subscribe: vec![record.to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        requests.send(ask).await?;
        let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        request.metadata_mut().insert(WORKLOAD_KEY, workload.parse()?);
        let answered = async {
            let mut stream =
                AggregatedDiscoveryServiceClient::new(channel).delta_aggregated_resources(request).await?.into_inner();
            stream.message().await
        };
        let response = match tokio::time::timeout(PATIENCE, answered).await? {
            Ok(response) => response.ok_or("the stream ended without a word")?,
            Err(status) => return Ok(Err(status)),
        };
        let names: Vec<&str> = response.resources.iter().map(|it| it.name.as_str()).collect();
        Ok(Ok(format!("{} came, {} removed", names.join(" "), response.removed_resources.len())))
    }

    async fn channel(&self, config: Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
        let connector = Secured { to: self.address, config };
        Endpoint::from_static("http://control").connect_timeout(PATIENCE).connect_with_connector(connector).await
    }
}

fn controller() -> Result<SpiffeId, Failure> {
    Ok(SpiffeId::new(&TrustDomain::default(), "weft", "weft-controller")?)
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

const PATIENCE: Duration = Duration::from_secs(20);
