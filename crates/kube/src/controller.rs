//! The control plane's process in a cluster: follows the API server, keeps the issuer, serves proxies
//! and the command line, and ends them all.
//!
//! It begins to serve once everything has been listed: whoever asks before would be told of a mesh
//! with holes in it. From then on nothing that breaks stops what worked.

mod admin;
mod follow;
mod health;
mod issuer;
mod unmeshed;
mod webhooks;

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::info;
use weft_compile::{DefaultInbound, Settings};
use weft_control::{ControlError, Facts, Mesh, Services, Shared};
use weft_identity::Authority;
use weft_mesh::{NameError, SpiffeId, TrustDomain};

pub(crate) use self::health::Health;
use self::issuer::Issuers;
use self::webhooks::Webhooks;
use crate::identity::Reviewer;
use crate::inject::Resources;
use crate::issuer::Keeper;
use crate::model::{Cluster, Defaults};
use crate::names::{ADMIN_PORT, CONTROLLER, LOCAL_PORT, PROXIES_PORT, WEBHOOKS_PORT};
use crate::watched::Watched;
use crate::webhook::Metrics;
use crate::{client, status, watch as watches, webhook};

/// How the control plane of a cluster is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespace of the control plane.
    pub namespace: String,
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// What Services' full names end with, after `NAME.NAMESPACE.svc.`.
    pub cluster_domain: String,
    /// How long a proxy's certificate lives at most.
    pub cert_lifetime: Duration,
    /// The proxies that are injected.
    pub proxies: Proxies,
    /// Who may call pods that say nothing themselves.
    pub default_inbound: DefaultInbound,
    /// Where it listens.
    pub listen: Listen,
}

/// The proxies that are injected, where a pod says nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxies {
    /// Their image.
    pub image: String,
    /// When nodes pull it.
    pub image_pull_policy: String,
    /// What they ask of their nodes.
    pub resources: Resources,
    /// What they log: a filter.
    pub log: String,
}

/// Where the control plane listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// For proxies: gRPC over TLS.
    pub proxies: SocketAddr,
    /// For the command line: plain gRPC, so an address of loopback.
    pub command_line: SocketAddr,
    /// For readiness and metrics: plain HTTP.
    pub admin: SocketAddr,
    /// For the API server: the webhooks' HTTPS.
    pub webhooks: SocketAddr,
}

impl Default for Listen {
    /// The ports of the Service, on all addresses of both families.
    fn default() -> Self {
        let everywhere = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self {
            proxies: everywhere(PROXIES_PORT),
            command_line: SocketAddr::from((Ipv4Addr::LOCALHOST, LOCAL_PORT)),
            admin: everywhere(ADMIN_PORT),
            webhooks: everywhere(WEBHOOKS_PORT),
        }
    }
}

/// Why the control plane can't run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// There is no way to the API server.
    #[error("expected a way to the API server (in a pod, or a kubeconfig): {0}")]
    Client(String),
    /// A name isn't one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A port is taken.
    #[error("expected to listen at {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// A server broke down.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Runs the control plane of a cluster until `shutdown` is ready.
///
/// # Errors
/// [`ControllerError`]. What the API server refuses is no reason to end: it is told and tried again.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ControllerError> {
    let found = kube::Config::infer().await.map_err(|error| ControllerError::Client(error.to_string()))?;
    let client = client::lasting(found).map_err(|error| ControllerError::Client(error.to_string()))?;
    let identity = SpiffeId::new(&config.trust_domain, &config.namespace, CONTROLLER)?;
    let admin = bind(config.listen.admin).await?;
    let proxies = bind(config.listen.proxies).await?;
    let command_line = bind(config.listen.command_line).await?;
    let controller = Controller::new(client, config);
    let mut tasks = JoinSet::new();
    let mut served = pin!(controller.serve(&mut tasks, (admin, proxies, command_line), identity));
    tokio::select! {
        result = &mut served => result,
        () = shutdown => {
            info!("the control plane ends");
            controller.shared.end();
            // What has no end is ended with `tasks`.
            timeout(END_TIMEOUT, served).await.unwrap_or(Ok(()))
        }
    }
}

/// What its tasks share.
struct Controller {
    config: Config,
    client: Client,
    watched: Watched,
    shared: Shared,
    health: Health,
    signing: watch::Sender<Option<Arc<Authority>>>,
}

impl Controller {
    fn new(client: Client, config: Config) -> Self {
        let settings = Settings {
            trust_domain: config.trust_domain.clone(),
            dns_suffix: config.cluster_domain.clone(),
            ..Settings::default()
        };
        let defaults = Defaults { trust_domain: config.trust_domain.clone(), inbound: Some(config.default_inbound) };
        Self {
            watched: Watched::new(Cluster::new(defaults)),
            shared: Shared::new(Mesh::new(settings)),
            health: Health::default(),
            signing: watch::Sender::new(None),
            client,
            config,
        }
    }

    /// Serves until a server breaks down.
    async fn serve(
        &self,
        tasks: &mut JoinSet<()>,
        (admin, proxies, command_line): (TcpListener, TcpListener, TcpListener),
        identity: SpiffeId,
    ) -> Result<(), ControllerError> {
        let reviewer = Reviewer::new(self.client.clone(), self.watched.clone(), self.health.clone());
        let (shared, signing) = (self.shared.clone(), self.signing.subscribe());
        let services = Services::new(shared, Arc::new(reviewer), signing, self.config.cert_lifetime);
        let metrics = Arc::new(Metrics::default());
        tasks.spawn(admin::serve(admin, self.health.clone(), (services.clone(), Arc::clone(&metrics))));
        let (told, events) = mpsc::channel(MAX_TOLD);
        let watching = watches::all(&self.client, &told);
        let follower = follow::Follower {
            watched: self.watched.clone(),
            shared: self.shared.clone(),
            health: self.health.clone(),
        };
        tasks.spawn(follower.run(watching, events));
        let keeper = Keeper::new(self.client.clone(), &self.config.namespace, self.config.trust_domain.clone());
        tokio::select! {
            _ = async { tokio::join!(self.open_issuer(tasks, keeper), self.health.listed()) } => {}
            () = self.shared.ending() => return Ok(()),
        }
        let told = (self.config.namespace.clone(), Arc::clone(&metrics));
        tasks.spawn(unmeshed::run(self.client.clone(), self.watched.clone(), self.shared.clone(), told));
        let write = status::run(self.client.clone(), self.watched.clone(), self.shared.clone(), self.health.clone());
        tasks.spawn(write);
        info!(%identity, "the control plane serves");
        self.health.signs();
        self.answer(services, (proxies, command_line), identity, metrics).await?;
        Ok(())
    }

    /// Answers proxies, the command line and the API server until everything ends.
    async fn answer(
        &self,
        services: Services,
        (proxies, command_line): (TcpListener, TcpListener),
        identity: SpiffeId,
        metrics: Arc<Metrics>,
    ) -> Result<(), ControlError> {
        let facts = Facts {
            trust_domain: self.config.trust_domain.to_string(),
            folder: None,
            started_at: SystemTime::now(),
            metrics: Some(self.config.listen.admin.to_string()),
        };
        let grpc = async {
            let (proxies, command_line) =
                (services.serve_proxies(proxies, identity), services.serve_command_line(command_line, facts));
            tokio::try_join!(proxies, command_line).map(|_| ())
        };
        let (served, webhooks) = oneshot::channel();
        let ready = async {
            serves_soon(&self.health, webhooks).await;
            Ok(())
        };
        let webhooks = async {
            self.webhooks(metrics).run(served).await;
            Ok(())
        };
        tokio::try_join!(until_streams_end(&self.shared, grpc), webhooks, ready).map(|_| ())
    }

    fn webhooks(&self, metrics: Arc<Metrics>) -> Webhooks {
        Webhooks {
            client: self.client.clone(),
            config: self.config.clone(),
            watched: self.watched.clone(),
            shared: self.shared.clone(),
            signing: self.signing.subscribe(),
            health: self.health.clone(),
            metrics,
        }
    }

    /// Waits for an issuer that can sign; it is followed from then on.
    async fn open_issuer(&self, tasks: &mut JoinSet<()>, keeper: Keeper) {
        let mut can_sign = self.signing.subscribe();
        let (signing, shared, health) = (self.signing.clone(), self.shared.clone(), self.health.clone());
        tasks.spawn(Issuers { keeper, signing, shared, health }.run());
        // The sender lives in `self`: it can't be gone.
        let _ = can_sign.wait_for(Option::is_some).await;
    }
}

/// Where the webhooks can't be served, proxies are all the same.
async fn serves_soon(health: &Health, webhooks: oneshot::Receiver<()>) {
    let _ = timeout(WEBHOOKS_WAIT, webhooks).await;
    health.serves();
}

/// Streams have a word to say before they go, and not all of their clients listen.
async fn until_streams_end(
    shared: &Shared,
    served: impl Future<Output = Result<(), ControlError>>,
) -> Result<(), ControlError> {
    let late = async {
        shared.ending().await;
        sleep(STREAMS_END_TIMEOUT).await;
    };
    tokio::select! {
        ended = served => ended,
        () = late => Ok(()),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ControllerError> {
    let bound = match TcpListener::bind(address).await {
        // A node without IPv6.
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|cause| ControllerError::Listen { address, cause })
}

/// Events between the watches and the model; a burst waits in the API server's connections.
const MAX_TOLD: usize = 512;
const STREAMS_END_TIMEOUT: Duration = Duration::from_secs(2);
/// A little longer than what ends by itself takes.
const END_TIMEOUT: Duration = webhook::END_TIME.saturating_add(Duration::from_secs(1));
/// How long the start waits for the webhooks' certificate: a moment, unless the API server refuses it.
const WEBHOOKS_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn webhooks_that_cannot_be_served_hold_up_proxies_for_a_while_only() {
        let (health, (_never, webhooks), begun) = (Health::default(), oneshot::channel(), Instant::now());
        assert!(health.ready().is_err());
        serves_soon(&health, webhooks).await;
        assert_eq!((begun.elapsed(), health.ready()), (WEBHOOKS_WAIT, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_do_not_end_hold_up_the_end_for_a_while_only() {
        let (shared, begun) = (Shared::new(Mesh::new(Settings::default())), Instant::now());
        shared.end();
        until_streams_end(&shared, std::future::pending()).await.unwrap();
        assert_eq!(begun.elapsed(), STREAMS_END_TIMEOUT);
    }
}
