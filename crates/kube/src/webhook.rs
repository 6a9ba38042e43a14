//! The admission webhooks: `/inject` gives pods their proxy, `/validate` refuses policies that
//! can't be understood. Their certificate, and what the API server must know of it, they keep up
//! to date by themselves.
//!
//! What is decided is pure (`answer`, `review`, `certificate`, `configuration`); `server` and `keeper` do the I/O.

mod answer;
mod certificate;
mod configuration;
mod keeper;
mod metrics;
mod review;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;

use crate::events::Events;
use crate::inject::Config;

pub use metrics::Metrics;
pub use review::{MAX_REVIEW_BYTES, Malformed, Request, read_review};

/// What the webhooks are told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The control plane's namespace.
    pub namespace: String,
    /// Where they are served; port 15017 in the container.
    pub address: SocketAddr,
}

/// Serves until `shutdown` says true, or its sender is gone.
///
/// # Errors
/// When the address can't be listened on. All else is logged, and tried again.
pub async fn serve(
    client: Client,
    settings: Settings,
    config: watch::Receiver<Arc<Config>>,
    metrics: Arc<Metrics>,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(settings.address).await?;
    let (events, posting) = Events::new(client.clone());
    let (keeper, tls) = keeper::Keeper::new(client.clone(), &settings);
    let injector = server::Injector { client, namespaces: keeper.namespaces(), config, events, metrics };
    let ended = async {
        // An error means that whoever would say so has gone.
        let _ = shutdown.wait_for(|ends| *ends).await;
    };
    tokio::select! {
        () = keeper.run() => {}
        () = posting => {}
        () = server::run(listener, tls, Arc::new(injector), ended) => {}
    }
    Ok(())
}
