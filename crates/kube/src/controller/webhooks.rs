//! Runs the webhooks' server beside the rest: what it tells the proxies that it injects follows the
//! control plane's own Service and the mesh's anchors.

use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;
use tokio::sync::{oneshot, watch};
use tracing::warn;
use weft_control::{Shared, Signing};

use super::Config;
use super::health::Health;
use crate::inject;
use crate::issuer::bundle;
use crate::model::Name;
use crate::names::{CONTROLLER, PROXIES_PORT};
use crate::watched::Watched;
use crate::webhook::{self, Metrics, Settings};

/// What the webhooks need of the control plane.
pub(crate) struct Webhooks {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) watched: Watched,
    pub(crate) shared: Shared,
    pub(crate) signing: Signing,
    pub(crate) health: Health,
    pub(crate) metrics: Arc<Metrics>,
}

impl Webhooks {
    /// Serves until everything ends, and until what was asked by then is answered. `served` is told as
    /// soon as whoever asks is answered, and dropped where that can't be.
    pub(crate) async fn run(mut self, served: oneshot::Sender<()>) {
        let ending = self.shared.clone();
        let mut changes = self.watched.changes();
        let first = tokio::select! {
            first = self.first(&mut changes) => first,
            () = ending.ending() => return,
        };
        let (configs, config) = watch::channel(Arc::new(first));
        let settings = Settings { namespace: self.config.namespace.clone(), address: self.config.listen.webhooks };
        let bound = webhook::Webhooks::bind(self.client.clone(), settings, config, Arc::clone(&self.metrics)).await;
        let webhooks = match bound {
            Ok(webhooks) => webhooks,
            Err(error) => {
                warn!(%error, "the webhooks are not served");
                self.health.broken(WEBHOOKS, error.to_string());
                return;
            }
        };
        let certified = webhooks.certified();
        let tell = async move {
            certified.await;
            // Who doesn't wait any more needn't know.
            let _ = served.send(());
            std::future::pending::<()>().await
        };
        tokio::select! {
            () = webhooks.run(ending.ending()) => {}
            () = tell => {}
            () = self.follow(changes, configs) => {}
        }
    }

    /// What proxies are told first, once it is known.
    async fn first(&mut self, changes: &mut watch::Receiver<()>) -> inject::Config {
        loop {
            match self.current() {
                Some(config) => {
                    self.health.mended(WEBHOOKS);
                    return config;
                }
                None => {
                    self.health.broken(WEBHOOKS, format!("expected the Service {CONTROLLER}, found no address of it"))
                }
            };
            self.changed(changes).await;
        }
    }

    /// Keeps what proxies are told, for ever.
    async fn follow(&mut self, mut changes: watch::Receiver<()>, configs: watch::Sender<Arc<inject::Config>>) {
        loop {
            self.changed(&mut changes).await;
            if let Some(current) = self.current() {
                configs.send_if_modified(|known| {
                    let is_new = **known != current;
                    if is_new {
                        *known = Arc::new(current);
                    }
                    is_new
                });
            }
        }
    }

    /// Waits until something has changed that a proxy may be told.
    async fn changed(&mut self, cluster: &mut watch::Receiver<()>) {
        // Both senders live as long as the control plane.
        tokio::select! {
            _ = cluster.changed() => {}
            _ = self.signing.changed() => {}
        }
    }

    /// What proxies are told now; `None` while the Service has no address.
    fn current(&mut self) -> Option<inject::Config> {
        let config = &self.config;
        let service = Name::new(&config.namespace, CONTROLLER);
        let address = self.watched.look(|cluster| cluster.service_address(&service))?;
        let authority = self.signing.borrow_and_update().clone()?;
        Some(inject::Config {
            namespace: config.namespace.clone(),
            trust_domain: config.trust_domain.to_string(),
            cluster_domain: config.cluster_domain.clone(),
            proxy_image: config.proxies.image.clone(),
            image_pull_policy: config.proxies.image_pull_policy.clone(),
            control_address: SocketAddr::new(address, PROXIES_PORT),
            trust_anchors: bundle(authority.anchors()),
            resources: config.proxies.resources.clone(),
            log: config.proxies.log.clone(),
        })
    }
}

/// What is wrong with them is told under this name.
const WEBHOOKS: &str = "webhooks";
