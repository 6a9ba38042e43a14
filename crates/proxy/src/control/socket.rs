//! gRPC over the control plane's Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use crate::limits::{CONTROL_PING, CONTROL_PING_WAIT};

/// A channel that connects when it is first used, and again whenever it broke.
pub(super) fn channel(path: &Path) -> Channel {
    // The name is neither resolved nor checked: the connector knows where to go. One that is stopped is as good as
    // away: while it is asked in vain, what is surely outside would be refused.
    Endpoint::from_static("http://control.weft")
        .http2_keep_alive_interval(CONTROL_PING)
        .keep_alive_timeout(CONTROL_PING_WAIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(Connector(path.to_owned()))
}

#[derive(Clone)]
struct Connector(PathBuf);

impl Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
