//! A workload's registration: it lasts as long as its stream to the control plane, and is taken
//! up again when the control plane comes back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weft_wire::proto::weft::v1::launch_event::Event;
use weft_wire::proto::weft::v1::{Assigned, LaunchEvent, LaunchRequest, WorkloadSpec};

use crate::client;
use crate::failure::{Context, Failure};
use crate::home::Home;

/// A registered workload.
pub(super) struct Registration {
    home: Home,
    spec: WorkloadSpec,
    assigned: Assigned,
    stream: Stream,
    readiness: Readiness,
}

/// Whether the program can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It can: the workload is an endpoint.
    Ready,
    /// It can't yet, or can't just now.
    Unready,
}

/// The two directions of the call.
struct Stream {
    requests: mpsc::Sender<LaunchRequest>,
    events: Streaming<LaunchEvent>,
}

impl Registration {
    /// Registers a new workload.
    ///
    /// # Errors
    /// When no mesh runs, or it refuses the workload.
    pub(super) async fn new(home: &Home, spec: WorkloadSpec) -> Result<Self, Failure> {
        let first = LaunchRequest { workload: Some(spec.clone()), ..LaunchRequest::default() };
        let (stream, assigned) = call(home, first).await?;
        Ok(Self { home: home.clone(), spec, assigned, stream, readiness: Readiness::Unready })
    }

    /// What the control plane assigned.
    pub(super) fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// Tells whether the workload can be called from now on.
    ///
    /// # Errors
    /// When the control plane is away; it is told once it is back.
    pub(super) async fn tell(&mut self, readiness: Readiness) -> Result<(), Failure> {
        self.readiness = readiness;
        let (ready, unready) = (readiness == Readiness::Ready, readiness == Readiness::Unready);
        let told = LaunchRequest { ready, unready, ..LaunchRequest::default() };
        self.stream.requests.send(told).await.context("tell the control plane whether the workload is ready")
    }

    /// Waits until the control plane wants the program to end. While the control plane is away
    /// the program goes on, and the registration is taken up again when it is back.
    pub(super) async fn stop_asked(&mut self) {
        loop {
            match self.stream.events.message().await {
                Ok(Some(LaunchEvent { event: Some(Event::Stop(_)) })) => return,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => self.resume().await,
            }
        }
    }

    async fn resume(&mut self) {
        loop {
            tokio::time::sleep(RESUME_INTERVAL).await;
            let (workload, resume) = (Some(self.spec.clone()), Some(self.assigned.clone()));
            let ready = self.readiness == Readiness::Ready;
            let again = LaunchRequest { workload, resume, ready, unready: !ready };
            if let Ok((stream, _)) = call(&self.home, again).await {
                self.stream = stream;
                return;
            }
        }
    }
}

async fn call(home: &Home, first: LaunchRequest) -> Result<(Stream, Assigned), Failure> {
    let refused = |status: tonic::Status| client::refused("register the workload", &status);
    let mut control = client::connect(home).await?;
    let (requests, receiver) = mpsc::channel(QUEUE);
    requests.send(first).await.context("register the workload")?;
    let mut events = control.launch(ReceiverStream::new(receiver)).await.map_err(refused)?.into_inner();
    match events.message().await.map_err(refused)? {
        Some(LaunchEvent { event: Some(Event::Assigned(assigned)) }) => Ok((Stream { requests, events }, assigned)),
        _ => Err(Failure::new("register the workload: the control plane assigned nothing")
            .hint("are weft and the running control plane of one version? try: weft down; weft up")),
    }
}

/// A launcher rarely has something to say.
const QUEUE: usize = 4;
/// The control plane keeps a workload for 10 s after it started again.
const RESUME_INTERVAL: Duration = Duration::from_millis(500);
