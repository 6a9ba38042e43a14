//! One machine's control plane, from its start to its end: opens what it needs, runs one task for
//! each concern, and ends them all.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use weft_compile::Settings;
use weft_identity::Authority;
use weft_mesh::TrustDomain;
use weft_mesh::record::Trust;
use weft_resources::Workload;
use weft_wire::proto::weft::v1::control_server::ControlServer;

use crate::crowd::Crowd;
use crate::error::ControlError;
use crate::folder::Source;
use crate::launch::Launches;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_OF_A_PROCESS, END_TIMEOUT, STOP_TIMEOUT, connections};
use crate::machine::Machine;
use crate::mesh::Mesh;
use crate::placed::Placed;
use crate::plane::Plane;
use crate::queries::Facts;
use crate::services::Services;
use crate::shared::{Phase, Shared};
use crate::socket::{admit, listen};
use crate::store::Store;
use crate::supervise::{Launcher, Supervisor};
use crate::telemetry::{self, Scrape};
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
    /// `weft`, which runs the programs that the folder names; without it they are passed over.
    pub launcher: Option<PathBuf>,
    /// Where Prometheus finds the whole mesh's metrics; what is taken is warned of and done without.
    pub metrics: Option<SocketAddr>,
}

/// A control plane whose socket is open; connections wait until it runs.
pub struct ControlPlane {
    config: Config,
    store: Arc<Store>,
    authority: Arc<Authority>,
    source: Option<Source>,
    listener: UnixListener,
    metrics: Option<TcpListener>,
    machine: Machine,
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
            launcher: None,
            metrics: None,
        }
    }
}

impl ControlPlane {
    /// Takes the state folder's lock, reads everything, and opens the socket. It blocks while it
    /// reads, and must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`ControlError`] says what can't be opened; [`StoreError::Locked`](crate::StoreError::Locked) is a second control plane.
    pub fn open(config: Config) -> Result<Self, ControlError> {
        let store = Store::open(&config.state_dir)?;
        let authority = authority::open(&store, &config.trust_domain, SystemTime::now())?;
        let (addresses, workloads) = persist::load(&store)?;
        let trust = Trust { domain: config.trust_domain.clone(), anchors: authority.anchors(), ..Trust::default() };
        let mut mesh = Mesh::new(Settings { trust_domain: config.trust_domain.clone(), ..Settings::default() });
        mesh.set_trust(trust);
        let open =
            |path: &PathBuf| Source::open(path).map_err(|cause| ControlError::Folder { path: path.clone(), cause });
        let source = config.folder.as_ref().map(open).transpose()?;
        if let Some(source) = &source {
            mesh.replace_policies(source.folder().resources(), source.folder().problems());
        }
        let plane = Plane::new(config.trust_domain.clone(), addresses, workloads, &mut mesh);
        mesh.problems().iter().for_each(|problem| warn!("{problem}"));
        let listener = listen(&config.socket)?;
        let metrics = config.metrics.and_then(telemetry::bind);
        let (store, authority) = (Arc::new(store), Arc::new(authority));
        let machine = Machine::new(plane, Shared::new(mesh));
        Ok(Self { config, store, authority, source, listener, metrics, machine })
    }

    /// What is wrong with the folder's files, a line each.
    pub fn problems(&self) -> Vec<String> {
        self.machine.shared().with(|mesh| mesh.problems())
    }

    /// Serves until `shutdown` is ready or somebody asks it to end; then streams end, the state is
    /// written, and the socket is removed. Workloads go on unless they were asked to stop.
    ///
    /// # Errors
    /// [`ControlError::Server`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ControlError> {
        let Self { config, store, authority, source, listener, metrics, machine } = self;
        let shared = machine.shared().clone();
        let (signs, signing) = watch::channel(Some(Arc::clone(&authority)));
        let services = Services::new(shared.clone(), Arc::new(machine.clone()), signing, config.cert_lifetime);
        let facts = facts(&config, metrics.as_ref());
        let supervisor = supervisor(&config, &machine, source.as_ref());
        let end_programs = supervisor.as_ref().map(|(supervisor, _)| supervisor.end());
        let (supervisor, wanted) = supervisor.unzip();
        let mut tasks = JoinSet::new();
        let supervising = supervisor.map(|supervisor| tokio::spawn(supervisor.run()));
        if let Some(listener) = metrics {
            tasks.spawn(Scrape { listener, hub: services.hub().clone() }.run(shared.clone()));
        }
        tasks.spawn(persist::run(machine.clone(), Arc::clone(&store)));
        let kept = authority::keep(Arc::clone(&store), config.trust_domain.clone(), authority, signs);
        tasks.spawn(until_the_end(shared.clone(), kept));
        tasks.spawn(end_grace(machine.clone(), config.resume_grace));
        tasks.spawn(end_after_workloads(machine.clone()));
        if let Some(source) = source {
            tasks.spawn(follow(shared.clone(), source, wanted));
        }
        info!(socket = %config.socket.display(), metrics = facts.metrics, "the control plane serves");
        let served = serve_socket(listener, &machine, services, facts);
        let asked = async {
            shutdown.await;
            if let (Some(end), Some(supervising)) = (end_programs, supervising) {
                end.notify_one();
                // Whatever became of it, the rest ends as well.
                let _ = supervising.await;
            }
        };
        let result = tokio::select! {
            result = served => result,
            () = end_on(&shared, asked) => Ok(()),
        };
        shared.enter(Phase::Ending);
        // What doesn't end by itself is ended when `tasks` goes.
        let _ = timeout(END_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        persist::save(&machine, &store).await;
        // Still under the lock: it can't be another's socket.
        if let Err(error) = std::fs::remove_file(&config.socket) {
            warn!(%error, "the socket stays behind");
        }
        result
    }
}

/// Who runs the folder's programs, and where that is told which they are.
fn supervisor(
    config: &Config,
    machine: &Machine,
    source: Option<&Source>,
) -> Option<(Supervisor, watch::Sender<Vec<Workload>>)> {
    let (program, source) = (config.launcher.clone()?, source?);
    let launcher = Launcher { program, state_dir: config.state_dir.clone(), root: source.root().to_owned() };
    let (wanted, told) = watch::channel(source.folder().workloads());
    Some((Supervisor::new(machine.clone(), launcher, told), wanted))
}

/// What is known of this control plane as long as it runs.
fn facts(config: &Config, metrics: Option<&TcpListener>) -> Facts {
    let address = metrics.and_then(|listener| listener.local_addr().ok());
    let served = address.map(|address| address.to_string()).unwrap_or_default();
    Facts {
        trust_domain: config.trust_domain.to_string(),
        folder: config.folder.clone(),
        started_at: SystemTime::now(),
        metrics: config.metrics.map(|_| served),
    }
}

async fn serve_socket(
    listener: UnixListener,
    machine: &Machine,
    services: Services,
    facts: Facts,
) -> Result<(), ControlError> {
    let launches = Launches { machine: machine.clone(), queries: services.queries(facts) };
    let routes = services.for_proxies().add_service(ControlServer::new(launches)).add_service(services.for_observers());
    services
        .server()
        .add_routes(routes)
        .serve_with_incoming_shutdown(admitted(listener), machine.shared().ending())
        .await
        .map_err(|error| ControlError::Server(error.to_string()))
}

/// Connections of peers that may speak. They are told from each other by their processes.
fn admitted(listener: UnixListener) -> impl Stream<Item = Result<Placed<UnixStream, i32>, Infallible>> {
    let crowd = Crowd::new(connections(), CONNECTIONS_OF_A_PROCESS);
    unfold((listener, crowd), async |(listener, crowd)| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match admit(&stream) {
                    Ok(pid) => match crowd.enter(pid) {
                        Some(place) => return Some((Ok(Placed::new(stream, place)), (listener, crowd))),
                        None => debug!(pid, "turned away: it has connections enough, or all have"),
                    },
                    Err(error) => warn!(%error, "a peer was turned away"),
                },
                Err(error) => {
                    error!(%error, "expected a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// Does what never ends by itself until everything does.
async fn until_the_end(shared: Shared, endless: impl Future<Output = Infallible>) {
    tokio::select! {
        never = endless => match never {},
        () = shared.ending() => {}
    }
}

/// Ends everything when `shutdown` says so, and returns when the server had its time to end.
async fn end_on(shared: &Shared, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => shared.enter(Phase::Ending),
        () = shared.ending() => {}
    }
    sleep(END_TIMEOUT).await;
}

async fn follow(shared: Shared, mut source: Source, wanted: Option<watch::Sender<Vec<Workload>>>) {
    let problems = || -> BTreeSet<String> { shared.with(|mesh| mesh.problems()).into_iter().collect() };
    let mut told = problems();
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
            let (resources, found) = (source.folder().resources(), source.folder().problems());
            info!(folder = %source.root().display(), resources = resources.len(), "the folder has changed");
            shared.with(|mesh| mesh.replace_policies(resources, found));
            if let Some(wanted) = &wanted {
                wanted.send_replace(source.folder().workloads());
            }
            // With a thousand policies an edit must not say again what is wrong with all others.
            let before = mem::replace(&mut told, problems());
            told.difference(&before).for_each(|problem| warn!("{problem}"));
        }
    }
}

async fn end_grace(machine: Machine, grace: Duration) {
    tokio::select! {
        () = sleep(grace) => {}
        () = machine.shared().ending() => return,
    }
    for id in machine.with(|plane, mesh| plane.end_grace(mesh)) {
        warn!(workload = %id, "its launcher didn't come back");
    }
}

/// After the workloads were asked to stop, ends everything once they have.
async fn end_after_workloads(machine: Machine) {
    let shared = machine.shared();
    let mut phase = shared.phase();
    // The sender lives in `shared`: it can't be gone.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    let mut registrations = machine.registrations();
    let gone = async {
        while machine.with(|plane, _| plane.workloads().count() > 0) && registrations.changed().await.is_ok() {}
    };
    tokio::select! {
        _ = timeout(STOP_TIMEOUT, gone) => shared.enter(Phase::Ending),
        () = shared.ending() => {}
    }
}
