//! gRPC over the mesh's own TLS: the control plane must prove its identity, and the proxy shows the
//! newest certificate that it has. Each new connection is made with what is known then.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tower_service::Service;
use weft_identity::{Credential, MeshTls, client_config_without_identity, server_name};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, WorkloadId};
use weft_wire::WORKLOAD_KEY;

use crate::config::NetworkControl;
use crate::limits::{CONTROL_CONNECT, CONTROL_PING, CONTROL_PING_WAIT};

/// The control plane behind an address.
pub(crate) struct Network {
    to: Server,
    workload: WorkloadId,
    token_file: PathBuf,
    trust: watch::Sender<Trust>,
    credential: watch::Sender<Option<Arc<Credential>>>,
    channel: RefCell<Channel>,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    name: Option<String>,
    identity: SpiffeId,
}

impl Network {
    pub(super) fn new(control: &NetworkControl, workload: &WorkloadId) -> Self {
        let to = Server { address: control.address, name: control.name.clone(), identity: control.identity.clone() };
        let (trust, credential) = (watch::Sender::new(control.trust.clone()), watch::Sender::new(None));
        let shown = Shown::Newest(credential.subscribe(), trust.subscribe());
        let channel = RefCell::new(channel(Connector { to: to.clone(), shown }));
        let (workload, token_file) = (workload.clone(), control.token_file.clone());
        Self { to, workload, token_file, trust, credential, channel }
    }

    /// Connections on which the proxy shows its certificate; the first one waits for it.
    pub(super) fn channel(&self) -> Channel {
        self.channel.borrow().clone()
    }

    /// A connection on which it shows none.
    pub(super) fn first_channel(&self) -> Result<Channel, Status> {
        let config =
            client_config_without_identity(&self.trust.borrow(), std::slice::from_ref(&self.to.identity), ALPN);
        let config = config.map_err(|error| Status::internal(error.to_string()))?;
        Ok(channel(Connector { to: self.to.clone(), shown: Shown::Nothing(config) }))
    }

    /// Says which workload asks: its identity may be that of others too.
    pub(super) fn named<T>(&self, mut request: Request<T>) -> Result<Request<T>, Status> {
        let name = self.workload.as_str().parse();
        let name = name.map_err(|_| Status::internal(format!("{} can't be said", self.workload)))?;
        request.metadata_mut().insert(WORKLOAD_KEY, name);
        Ok(request)
    }

    /// The token as it is now: the kubelet renews it.
    pub(super) fn token(&self) -> Result<String, Status> {
        let read = std::fs::read_to_string(&self.token_file);
        let read = read.map_err(|error| format!("{}: {error}", self.token_file.display()));
        read.map(|token| token.trim().to_owned()).map_err(Status::unauthenticated)
    }

    pub(super) fn renew(&self, credential: Arc<Credential>) {
        // The first connection waits for the first certificate. A connection that shows an older one
        // ends with the last stream on it.
        if self.credential.send_replace(Some(credential)).is_some() {
            let shown = Shown::Newest(self.credential.subscribe(), self.trust.subscribe());
            self.channel.replace(channel(Connector { to: self.to.clone(), shown }));
        }
    }

    pub(super) async fn renewed(&self) {
        let mut credential = self.credential.subscribe();
        // The sender is this one's own.
        let _renewed = credential.changed().await;
    }

    /// Anchors that can't be used change nothing; the data thread says so.
    pub(super) fn trust(&self, trust: &Trust) {
        if client_config_without_identity(trust, &[], ALPN).is_ok() {
            self.trust.send_replace(trust.clone());
        }
    }
}

/// A channel that connects when it is first used, and again whenever it broke.
fn channel(connector: Connector) -> Channel {
    // The name is neither resolved nor checked: the connector knows where to go.
    Endpoint::from_static("http://control.weft")
        .http2_keep_alive_interval(CONTROL_PING)
        .keep_alive_timeout(CONTROL_PING_WAIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

#[derive(Clone)]
struct Connector {
    to: Server,
    shown: Shown,
}

/// What the proxy shows of itself.
#[derive(Clone)]
enum Shown {
    Nothing(Arc<ClientConfig>),
    Newest(watch::Receiver<Option<Arc<Credential>>>, watch::Receiver<Trust>),
}

impl Connector {
    async fn connect(mut self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let config = match &mut self.shown {
            Shown::Nothing(config) => config.clone(),
            Shown::Newest(credential, trust) => {
                let credential = credential.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
                let credential = credential.ok_or(io::ErrorKind::NotFound)?;
                let tls = MeshTls::new(credential, &trust.borrow()).map_err(io::Error::other)?;
                tls.client_config(std::slice::from_ref(&self.to.identity), ALPN)
            }
        };
        let failed = match shake_hands(self.to.address, config.clone()).await {
            Ok(connected) => return Ok(TokioIo::new(connected)),
            Err(failed) => failed,
        };
        for address in self.to.others().await {
            if let Ok(connected) = shake_hands(address, config.clone()).await {
                return Ok(TokioIo::new(connected));
            }
        }
        Err(failed)
    }
}

impl Server {
    /// Where else it may answer, by its name.
    async fn others(&self) -> Vec<SocketAddr> {
        let Some(name) = &self.name else { return Vec::new() };
        match timeout(CONTROL_CONNECT, lookup_host(name)).await {
            Ok(Ok(found)) => found.filter(|address| *address != self.address).collect(),
            _ => Vec::new(),
        }
    }
}

async fn shake_hands(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        TlsConnector::from(config).connect(server_name(), socket).await
    };
    timeout(CONTROL_CONNECT, connecting).await.unwrap_or_else(|_| {
        let detail = format!("no TLS with {address} within {} s", CONTROL_CONNECT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, detail))
    })
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

const ALPN: &[&[u8]] = &[b"h2"];
