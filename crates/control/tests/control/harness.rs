//! A control plane on a real Unix socket, and clients that speak to it as launchers and proxies do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use weft_control::{Config, ControlError, ControlPlane};
use weft_mesh::record::{Destination, Inbound};
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use weft_wire::proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::proto::weft::v1::launch_event::Event;
use weft_wire::record::Record;

/// Whatever is awaited comes within this time, or the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Where `serves` finds its folders.
pub(crate) const FOLDER: &str = "WEFT_TEST_FOLDER";

/// How many files `serves` may have open.
pub(crate) const FILES: &str = "WEFT_TEST_FILES";

pub(crate) struct Mesh {
    pub(crate) dir: TempDir,
    running: Running,
}

enum Running {
    Here(oneshot::Sender<()>, JoinHandle<Result<(), ControlError>>),
    Apart(Child),
}

impl Mesh {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("manifests")).unwrap();
        Self::start_in(dir)
    }

    pub(crate) fn start_in(dir: TempDir) -> Self {
        let config = config(&dir);
        Self::start_as(dir, config)
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("manifests")).unwrap();
        let mut config = config(&dir);
        change(&mut config);
        Self::start_as(dir, config)
    }

    fn start_as(dir: TempDir, config: Config) -> Self {
        let control = ControlPlane::open(config).unwrap();
        let (shutdown, asked) = oneshot::channel::<()>();
        let task = tokio::spawn(control.run(async {
            asked.await.ok();
        }));
        Self { dir, running: Running::Here(shutdown, task) }
    }

    /// Ends the control plane in good order; the state folder is for the next one.
    pub(crate) async fn end(self) -> TempDir {
        let Running::Here(shutdown, task) = self.running else { panic!("expected it to run here") };
        shutdown.send(()).unwrap();
        soon(task).await.unwrap().unwrap();
        self.dir
    }

    /// A control plane in a process of its own: this test program, as `serves`.
    pub(crate) async fn start_apart() -> Self {
        Self::start_apart_with(1_024).await
    }

    /// The same, and how many files it may have open.
    pub(crate) async fn start_apart_with(files: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("manifests")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "serves", "--ignored"]).env(FOLDER, dir.path()).env(FILES, files.to_string());
        let child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let socket = config(&dir).socket;
        soon(async {
            while UnixStream::connect(&socket).await.is_err() {
                yield_now().await
            }
        })
        .await;
        Self { dir, running: Running::Apart(child) }
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) async fn kill(self) -> TempDir {
        let Running::Apart(mut child) = self.running else { panic!("expected a process of its own") };
        child.kill().await.unwrap();
        self.dir
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(self) -> TempDir {
        let Running::Here(_, task) = self.running else { panic!("expected it to run here") };
        soon(task).await.unwrap().unwrap();
        self.dir
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&self.running, Running::Here(_, task) if task.is_finished())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        config(&self.dir).socket
    }

    /// Puts a manifest in its place as editors do: written aside, then renamed.
    pub(crate) fn edit(&self, name: &str, text: &str) {
        let folder = self.dir.path().join("manifests");
        let aside = folder.join(format!(".{name}.swp"));
        fs::write(&aside, text).unwrap();
        fs::rename(aside, folder.join(name)).unwrap();
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("unix:{}", self.socket().display())).unwrap();
        soon(endpoint.connect()).await.unwrap()
    }

    /// Asks until somebody answers.
    pub(crate) async fn answers(&self) {
        let endpoint = Endpoint::from_shared(format!("unix:{}", self.socket().display())).unwrap();
        let asked = || async { ControlClient::new(endpoint.connect_lazy()).status(proto::StatusRequest {}).await };
        soon(async { while asked().await.is_err() {} }).await;
    }

    pub(crate) async fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel().await)
    }

    pub(crate) async fn launch(&self, name: &str) -> Launcher {
        let workload = proto::WorkloadSpec { name: name.to_owned(), ..proto::WorkloadSpec::default() };
        self.launch_as(proto::LaunchRequest { workload: Some(workload), ..Default::default() }).await.unwrap()
    }

    pub(crate) async fn launch_as(&self, first: proto::LaunchRequest) -> Result<Launcher, Status> {
        let (requests, receiver) = mpsc::channel(4);
        requests.send(first).await.unwrap();
        let mut client = self.control().await;
        let mut events = soon(client.launch(ReceiverStream::new(receiver))).await?.into_inner();
        let assigned = match soon(events.message()).await?.and_then(|event| event.event) {
            Some(Event::Assigned(assigned)) => assigned,
            other => panic!("expected what was assigned, found {other:?}"),
        };
        Ok(Launcher { assigned, requests, events })
    }

    pub(crate) async fn subscribe(&self, token: &str) -> Result<Subscriber, Status> {
        let (requests, receiver) = mpsc::channel(16);
        let request = with_token(ReceiverStream::new(receiver), token);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await);
        let responses = soon(client.delta_aggregated_resources(request)).await?.into_inner();
        Ok(Subscriber { requests, responses })
    }

    pub(crate) async fn status(&self) -> proto::StatusResponse {
        soon(self.control().await.status(proto::StatusRequest {})).await.unwrap().into_inner()
    }
}

pub(crate) struct Launcher {
    pub(crate) assigned: proto::Assigned,
    requests: mpsc::Sender<proto::LaunchRequest>,
    events: Streaming<proto::LaunchEvent>,
}

impl Launcher {
    pub(crate) async fn ready(&self) {
        self.requests.send(proto::LaunchRequest { ready: true, ..Default::default() }).await.unwrap();
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        soon(self.events.message()).await.ok().flatten().and_then(|event| event.event)
    }
}

pub(crate) struct Subscriber {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Subscriber {
    pub(crate) async fn ask(&self, type_url: &str, names: &[&str]) {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: names,
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn response(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let response = soon(self.responses.message()).await?;
        response.ok_or_else(|| Status::aborted("expected a response, found the stream's end"))
    }

    /// The next response, acknowledged; it must hold one record.
    pub(crate) async fn record(&mut self) -> Record {
        let response = self.response().await.unwrap();
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        })
        .await;
        assert_eq!(response.resources.len(), 1, "{response:?}");
        let any = response.resources[0].resource.as_ref().unwrap();
        Record::decode(&any.type_url, &any.value).unwrap()
    }

    pub(crate) async fn inbound(&mut self) -> Inbound {
        match self.record().await {
            Record::Inbound(inbound) => inbound,
            other => panic!("expected an inbound record, found {other:?}"),
        }
    }

    pub(crate) async fn destination(&mut self) -> Destination {
        match self.record().await {
            Record::Destination(destination) => destination,
            other => panic!("expected a destination, found {other:?}"),
        }
    }
}

pub(crate) fn config(dir: &TempDir) -> Config {
    config_in(dir.path())
}

pub(crate) fn config_in(dir: &Path) -> Config {
    Config {
        folder: Some(dir.join("manifests")),
        resume_grace: Duration::from_secs(600),
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::new(dir.join("state"), dir.join("run/control.sock"))
    }
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) async fn soon<F: Future>(awaited: F) -> F::Output {
    timeout(DEADLINE, awaited).await.expect("expected it to come, found that the deadline passed")
}
