//! The admission webhooks: `/inject` gives pods their proxy, `/validate` refuses policies that
//! can't be understood. Their certificate, and what the API server must know of it, they keep up
//! to date by themselves.
//!
//! What is decided is pure (`answer`, `review`, `certificate`, `configuration`); `server` and `keeper` do the I/O.

mod answer;
mod body;
mod certificate;
mod configuration;
mod keeper;
mod metrics;
mod review;
mod server;
mod watches;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kube::Client;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::body::Room;
use self::keeper::Keeper;
use crate::events::Events;
use crate::inject::Config;

pub use metrics::Metrics;
pub use review::{MAX_REVIEW_BYTES, Malformed, Request, read_review};
pub(crate) use server::END_TIME;

/// What the webhooks are told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The control plane's namespace.
    pub namespace: String,
    /// Where they are served; port 15017 in the container.
    pub address: SocketAddr,
}

/// The webhooks, which listen already.
pub(crate) struct Webhooks {
    listener: TcpListener,
    keeper: Keeper,
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    injector: server::Injector,
    posting: BoxFuture<'static, ()>,
}

impl Webhooks {
    /// Listens. Who connects is answered as soon as there is a certificate.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub(crate) async fn bind(
        client: Client,
        settings: Settings,
        config: watch::Receiver<Arc<Config>>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(settings.address).await?;
        let (events, posting) = Events::new(client.clone());
        let (keeper, tls) = Keeper::new(client.clone(), &settings);
        let (namespaces, room) = (keeper.namespaces(), Room::default());
        let injector = server::Injector { client, namespaces, config, events, metrics, room };
        Ok(Self { listener, keeper, tls, injector, posting: posting.boxed() })
    }

    /// Waits until there is a certificate.
    pub(crate) fn certified(&self) -> impl Future<Output = ()> + use<> {
        let mut tls = self.tls.clone();
        async move {
            // An error means that nobody will ever be answered.
            let _ = tls.wait_for(Option::is_some).await;
        }
    }

    /// Serves until `shutdown`, and then answers what was asked, for [`END_TIME`] at most. What goes wrong
    /// is logged, and tried again.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.keeper.run() => {}
            () = self.posting => {}
            () = server::run(self.listener, self.tls, Arc::new(self.injector), shutdown) => {}
        }
    }
}
