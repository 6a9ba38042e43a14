//! One machine's control plane, from its start to its end: opens what it needs, runs one task for
//! each concern, and ends them all.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tonic::transport::Server;
use tracing::{error, info, warn};
use weft_identity::Authority;
use weft_mesh::TrustDomain;
use weft_mesh::record::Trust;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateServiceServer;
use weft_wire::proto::weft::v1::control_server::ControlServer;
use weft_wire::proto::weft::v1::observe_server::ObserveServer;
use weft_wire::proto::weft::v1::telemetry_server::TelemetryServer;

use crate::certificates::Certificates;
use crate::discovery::Discovery;
use crate::folder::Source;
use crate::launch::{Facts, Launches};
use crate::plane::Plane;
use crate::shared::{Phase, Shared};
use crate::socket::{SocketError, admit, listen};
use crate::store::{Store, StoreError};
use crate::telemetry::{self, Hub, Observer, Reports, Scrape};
use crate::{authority, persist};

/// How one machine's control plane is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of manifests; without one no policy is in force.
    pub folder: Option<PathBuf>,
    /// Where the authority's keys, addresses and registrations are kept. Mode 0700 when it is made.
    pub state_dir: PathBuf,
    /// The Unix socket that launchers, proxies and the command line connect to.
    pub socket: PathBuf,
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// How long a workload's certificate lives at most.
    pub cert_lifetime: Duration,
    /// How long a workload stays registered after a restart without its launcher coming back.
    pub resume_grace: Duration,
    /// Where Prometheus finds the whole mesh's metrics; what is taken is warned of and done without.
    pub metrics: Option<SocketAddr>,
}

/// Why the control plane can't run.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The folder of manifests.
    #[error("{}: expected a folder that can be read, found an error: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why it can't be read.
        cause: io::Error,
    },
    /// The server on the socket broke down.
    #[error("the control socket broke down: {0}")]
    Server(String),
}

/// A control plane whose socket is open; connections wait until it runs.
pub struct ControlPlane {
    config: Config,
    store: Arc<Store>,
    authority: Arc<Authority>,
    source: Option<Source>,
    listener: UnixListener,
    metrics: Option<TcpListener>,
    shared: Shared,
}

/// Runs the control plane until `shutdown` is ready or somebody asks it to end.
///
/// # Errors
/// [`ControlError`], as for [`ControlPlane::open`] and [`ControlPlane::run`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ControlError> {
    ControlPlane::open(config)?.run(shutdown).await
}

impl Config {
    /// The usual settings: no folder, `cluster.local`, certificates of 24 hours, a grace of 10 s.
    pub fn new(state_dir: PathBuf, socket: PathBuf) -> Self {
        Self {
            folder: None,
            state_dir,
            socket,
            trust_domain: TrustDomain::default(),
            cert_lifetime: Duration::from_secs(24 * 60 * 60),
            resume_grace: Duration::from_secs(10),
            metrics: None,
        }
    }
}

impl ControlPlane {
    /// Takes the state folder's lock, reads everything, and opens the socket. It blocks while it
    /// reads, and must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`ControlError`] says what can't be opened; [`StoreError::Locked`] is a second control plane.
    pub fn open(config: Config) -> Result<Self, ControlError> {
        let store = Store::open(&config.state_dir)?;
        let authority = authority::open(&store, &config.trust_domain, SystemTime::now())?;
        let (addresses, workloads) = persist::load(&store)?;
        let trust = Trust { domain: config.trust_domain.clone(), anchors: authority.anchors() };
        let mut plane = Plane::new(trust, addresses, workloads);
        let open =
            |path: &PathBuf| Source::open(path).map_err(|cause| ControlError::Folder { path: path.clone(), cause });
        let source = config.folder.as_ref().map(open).transpose()?;
        if let Some(source) = &source {
            plane.replace_resources(&source.folder().resources(), source.folder().problems());
        }
        plane.problems().iter().for_each(|problem| warn!("{problem}"));
        let listener = listen(&config.socket)?;
        let metrics = config.metrics.and_then(telemetry::bind);
        let (store, authority) = (Arc::new(store), Arc::new(authority));
        Ok(Self { config, store, authority, source, listener, metrics, shared: Shared::new(plane) })
    }

    /// What is wrong with the folder's files, a line each.
    pub fn problems(&self) -> Vec<String> {
        self.shared.with(|plane| plane.problems())
    }

    /// Serves until `shutdown` is ready or somebody asks it to end; then streams end, the state is
    /// written, and the socket is removed. Workloads go on unless they were asked to stop.
    ///
    /// # Errors
    /// [`ControlError::Server`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ControlError> {
        let Self { config, store, authority, source, listener, metrics, shared } = self;
        let mut tasks = JoinSet::new();
        let hub = Hub::new();
        let facts = facts(&config, &authority, metrics.as_ref());
        if let Some(listener) = metrics {
            tasks.spawn(Scrape { listener, hub: hub.clone() }.run(shared.clone()));
        }
        tasks.spawn(persist::run(shared.clone(), Arc::clone(&store)));
        tasks.spawn(end_grace(shared.clone(), config.resume_grace));
        tasks.spawn(end_after_workloads(shared.clone()));
        if let Some(source) = source {
            tasks.spawn(follow(shared.clone(), source));
        }
        info!(socket = %config.socket.display(), metrics = facts.metrics, "the control plane serves");
        let signer = (authority, config.cert_lifetime);
        let served = serve_socket(listener, (&shared, hub), facts, signer);
        let result = tokio::select! {
            result = served => result,
            () = end_on(&shared, shutdown) => Ok(()),
        };
        shared.enter(Phase::Ending);
        // What doesn't end by itself is ended when `tasks` goes.
        let _ = timeout(END_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        persist::save(&shared, &store).await;
        // Still under the lock: it can't be another's socket.
        if let Err(error) = std::fs::remove_file(&config.socket) {
            warn!(%error, "the socket stays behind");
        }
        result
    }
}

/// What is known of this control plane as long as it runs.
fn facts(config: &Config, authority: &Authority, metrics: Option<&TcpListener>) -> Facts {
    let address = metrics.and_then(|listener| listener.local_addr().ok());
    Facts {
        trust_domain: config.trust_domain.to_string(),
        folder: config.folder.clone(),
        started_at: SystemTime::now(),
        issuer_not_after: authority.issuer().not_after,
        root_not_after: authority.root().not_after,
        metrics: address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

async fn serve_socket(
    listener: UnixListener,
    (shared, hub): (&Shared, Hub),
    facts: Facts,
    (authority, lifetime): (Arc<Authority>, Duration),
) -> Result<(), ControlError> {
    let observer = Observer { shared: shared.clone(), hub: hub.clone(), authority: authority.clone() };
    let certificates = Certificates { shared: shared.clone(), authority, lifetime };
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(ControlServer::new(Launches { shared: shared.clone(), facts }))
        .add_service(IstioCertificateServiceServer::new(certificates))
        .add_service(AggregatedDiscoveryServiceServer::new(Discovery { shared: shared.clone() }))
        .add_service(TelemetryServer::new(Reports { shared: shared.clone(), hub }))
        .add_service(ObserveServer::new(observer))
        .serve_with_incoming_shutdown(admitted(listener), shared.ending())
        .await
        .map_err(|error| ControlError::Server(error.to_string()))
}

/// Connections of peers that may speak.
fn admitted(listener: UnixListener) -> impl Stream<Item = Result<UnixStream, Infallible>> {
    unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match admit(&stream) {
                    Ok(()) => return Some((Ok(stream), listener)),
                    Err(error) => warn!(%error, "a peer was turned away"),
                },
                Err(error) => {
                    error!(%error, "expected a connection");
                    // Out of descriptors, most likely: others close theirs meanwhile.
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// Ends everything when `shutdown` says so, and returns when the server had its time to end.
async fn end_on(shared: &Shared, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => shared.enter(Phase::Ending),
        () = shared.ending() => {}
    }
    sleep(END_TIMEOUT).await;
}

async fn follow(shared: Shared, mut source: Source) {
    loop {
        tokio::select! {
            () = source.hinted() => {}
            () = shared.ending() => return,
        }
        let looked = spawn_blocking(move || {
            let changed = source.look();
            (source, changed)
        });
        let Ok((returned, changed)) = looked.await else {
            return error!("the folder is no longer followed: looking at it failed");
        };
        source = returned;
        if changed {
            let (resources, problems) = (source.folder().resources(), source.folder().problems());
            info!(folder = %source.root().display(), resources = resources.len(), "the folder has changed");
            shared.with(|plane| plane.replace_resources(&resources, problems));
            shared.with(|plane| plane.problems()).iter().for_each(|problem| warn!("{problem}"));
        }
    }
}

async fn end_grace(shared: Shared, grace: Duration) {
    tokio::select! {
        () = sleep(grace) => {}
        () = shared.ending() => return,
    }
    for id in shared.with(|plane| plane.end_grace()) {
        warn!(workload = %id, "its launcher didn't come back");
    }
}

/// After the workloads were asked to stop, ends everything once they have.
async fn end_after_workloads(shared: Shared) {
    let mut phase = shared.phase();
    // The sender lives in `shared`: it can't be gone.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    let mut registrations = shared.registrations();
    let gone =
        async { while shared.with(|plane| plane.workloads().count() > 0) && registrations.changed().await.is_ok() {} };
    tokio::select! {
        _ = timeout(STOP_TIMEOUT, gone) => shared.enter(Phase::Ending),
        () = shared.ending() => {}
    }
}

/// Calls at once on one connection; a launcher has one, a proxy three.
const MAX_STREAMS: u32 = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long streams and tasks may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long workloads may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
