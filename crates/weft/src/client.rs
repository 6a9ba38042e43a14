//! The way to a control plane: gRPC over this machine's Unix socket, or through a cluster's API server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Code;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use weft_kube::client::{ClientError, Cluster, Forward};
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::proto::weft::v1::observe_client::ObserveClient;

use crate::args::ClusterArgs;
use crate::failure::Failure;
use crate::home::{Home, Mesh};

/// Connects to the mesh that runs on this state folder.
///
/// # Errors
/// When no mesh runs there.
pub(crate) async fn connect(home: &Home) -> Result<ControlClient<Channel>, Failure> {
    local(home).await.map(ControlClient::new)
}

/// Connects to a mesh of either home, to read signals.
///
/// # Errors
/// When none runs there, or the way to it is closed.
pub(crate) async fn observe(mesh: &Mesh) -> Result<ObserveClient<Channel>, Failure> {
    Ok(ObserveClient::new(channel(mesh).await?).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Connects to a mesh of either home, to ask about its control plane.
///
/// # Errors
/// As [`observe`].
pub(crate) async fn control(mesh: &Mesh) -> Result<ControlClient<Channel>, Failure> {
    channel(mesh).await.map(ControlClient::new)
}

async fn channel(mesh: &Mesh) -> Result<Channel, Failure> {
    match mesh {
        Mesh::Local(home) => local(home).await,
        Mesh::Cluster(access) => access.channel().await,
    }
}

async fn local(home: &Home) -> Result<Channel, Failure> {
    let socket = home.socket();
    let none = || Failure::new(format!("no mesh runs here: nothing answers at {}", socket.display())).hint(START);
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|_| none())?;
    endpoint.timeout(ANSWER_WAIT).connect().await.map_err(|_| none())
}

/// Which cluster is meant, and where in it Weft stands.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    kubernetes: weft_kube::client::Access,
    /// The control plane's namespace.
    pub(crate) namespace: String,
}

impl Access {
    /// What the command line says.
    pub(crate) fn of(args: &ClusterArgs) -> Self {
        let ClusterArgs { local: _, kubeconfig, context, as_user, as_groups, weft_namespace } = args.clone();
        let kubernetes = weft_kube::client::Access { kubeconfig, context, user: as_user, groups: as_groups };
        Self { kubernetes, namespace: weft_namespace }
    }

    /// Whether the user chose a cluster by what they said.
    pub(crate) fn is_explicit(&self) -> bool {
        self.kubernetes.is_explicit()
    }

    /// The name of the cluster that would be meant, if there is one.
    pub(crate) fn names_a_cluster(&self) -> Option<String> {
        self.kubernetes.names_a_cluster()
    }

    /// The API server, not asked anything yet.
    ///
    /// # Errors
    /// When no kubeconfig says where it is.
    pub(crate) async fn cluster(&self) -> Result<Cluster, Failure> {
        self.kubernetes.cluster().await.map_err(|error| told(&error))
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let client = self.cluster().await?.client;
        let forward = weft_kube::client::controller(client, &self.namespace).await.map_err(|error| told(&error))?;
        // The first connection tells why it can't be made; the channel's own errors don't.
        let first = forward.connect().await.map_err(|error| told(&error))?;
        let connector = Connector { forward, first: Some(Box::new(first)) };
        let endpoint = Endpoint::from_static("http://weft-controller").timeout(ANSWER_WAIT);
        endpoint.connect_with_connector(connector).await.map_err(|error| {
            Failure::new(format!("ask the controller: {error}")).hint("see how the mesh is: weft check")
        })
    }
}

/// A cluster's failure as a command's.
pub(crate) fn told(error: &ClientError) -> Failure {
    Failure::new(error.to_string()).hint(error.hint())
}

/// Opens connections to the controller, the one that was tried first of all.
struct Connector {
    forward: Forward,
    first: Option<Box<dyn Wire>>,
}

/// Bytes both ways.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (first, forward) = (self.first.take(), self.forward.clone());
        Box::pin(async move {
            let wire = match first {
                Some(wire) => wire,
                None => Box::new(forward.connect().await?) as Box<dyn Wire>,
            };
            Ok(TokioIo::new(wire))
        })
    }
}

/// What a call's failure means to a user.
pub(crate) fn refused(what: &str, status: &tonic::Status) -> Failure {
    let failure = Failure::new(format!("{what}: {}", status.message()));
    match status.code() {
        // It is this side that ended the call, after its time.
        Code::Cancelled => {
            let limit = ANSWER_WAIT.as_secs();
            Failure::new(format!("{what}: the control plane runs, but gave no answer within {limit} s"))
                .hint("is it stopped, or the machine overloaded? its log is in the state folder")
        }
        // It isn't what was asked that is wrong.
        Code::Unavailable | Code::Unknown | Code::Internal => failure.hint("see how the mesh is: weft check"),
        _ => failure,
    }
}

/// What to do where no mesh runs.
pub(crate) const START: &str = "start one with: weft up -f DIR -d; or name a cluster: --kubeconfig FILE";
/// How long the control plane may take to begin an answer; it takes milliseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// The rows of a mesh at all its bounds.
const MAX_ANSWER_BYTES: usize = 64 << 20;
