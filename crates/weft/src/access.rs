//! The way to a cluster, and through its API server to the controller.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use weft_kube::client::{ClientError, Cluster, Forward};

use crate::args::ClusterArgs;
use crate::failure::Failure;

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

    /// gRPC to its controller.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
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

/// How long the control plane may take to begin an answer; it takes milliseconds.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);
