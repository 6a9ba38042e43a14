//! The service for launchers and the command line. A workload lives as long as its launcher's
//! stream; when the control plane itself ends, it stays in the state folder.

use std::net::{Ipv4Addr, TcpListener};
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_server::Control;
use weft_wire::proto::weft::v1::launch_event::Event;

use crate::limits::FIRST_REQUEST;
use crate::machine::Machine;
use crate::messages;
use crate::plane::{Host, LaunchAsk, LaunchError};
use crate::queries::Queries;
use crate::registry::{LaunchId, Readiness, Registration, Token};
use crate::shared::{Phase, seconds};

/// Registers workloads, and tells of them.
pub(crate) struct Launches {
    pub(crate) machine: Machine,
    pub(crate) queries: Queries,
}

type Events = mpsc::Sender<Result<proto::LaunchEvent, Status>>;

#[tonic::async_trait]
impl Control for Launches {
    type LaunchStream = ReceiverStream<Result<proto::LaunchEvent, Status>>;

    async fn launch(
        &self,
        request: Request<Streaming<proto::LaunchRequest>>,
    ) -> Result<Response<Self::LaunchStream>, Status> {
        let mut requests = request.into_inner();
        let first = timeout(FIRST_REQUEST, requests.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("expected a first request, found none"))??;
        // Taken first: no change of phase after it can be missed.
        let phase = self.machine.shared().phase();
        let (launch, workload) = register(&self.machine, first.unwrap_or_default())?;
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        let assigned = Event::Assigned(messages::assigned(&workload));
        let kept = Launched { machine: self.machine.clone(), workload, launch };
        // The channel is new and has room.
        let _ = events.try_send(Ok(proto::LaunchEvent { event: Some(assigned) }));
        // It ends with its stream, or with the control plane.
        tokio::spawn(kept.follow(requests, events, phase));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_workloads(
        &self,
        _: Request<proto::ListWorkloadsRequest>,
    ) -> Result<Response<proto::ListWorkloadsResponse>, Status> {
        let workloads = self.machine.with(|plane, _| plane.workloads().map(messages::listed).collect());
        let idle = self.machine.idle().into_iter().map(messages::idle).collect();
        Ok(Response::new(proto::ListWorkloadsResponse { workloads, idle }))
    }

    async fn get_inbound(
        &self,
        request: Request<proto::GetInboundRequest>,
    ) -> Result<Response<proto::GetInboundResponse>, Status> {
        self.queries.inbounds(request.get_ref()).map(Response::new)
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusResponse>, Status> {
        Ok(Response::new(self.queries.status()))
    }

    async fn shutdown(
        &self,
        request: Request<proto::ShutdownRequest>,
    ) -> Result<Response<proto::ShutdownResponse>, Status> {
        let phase = match request.into_inner().stop_workloads {
            true => Phase::StoppingWorkloads,
            false => Phase::Ending,
        };
        info!(?phase, "asked to end");
        self.machine.shared().enter(phase);
        Ok(Response::new(proto::ShutdownResponse {}))
    }
}

fn register(machine: &Machine, first: proto::LaunchRequest) -> Result<(LaunchId, Registration), Status> {
    if *machine.shared().phase().borrow() != Phase::Running {
        return Err(Status::unavailable("the control plane ends"));
    }
    let workload = first.workload.ok_or_else(|| Status::invalid_argument("expected a workload first, found none"))?;
    let readiness = first.ready.then_some(Readiness::Ready);
    let ask = LaunchAsk { workload, resume: first.resume, readiness };
    let (suffixes, token) = chance().map_err(|error| Status::internal(format!("no randomness: {error}")))?;
    let host = Host { suffixes: &suffixes, token, is_free: &is_free, now: seconds(SystemTime::now()) };
    let (launch, workload) =
        machine.with(|plane, mesh| plane.launch(ask, &host, mesh)).map_err(|error| status(&error))?;
    info!(workload = %workload.id, identity = %workload.identity, readiness = ?workload.readiness, "launched");
    Ok((launch, workload))
}

struct Launched {
    machine: Machine,
    workload: Registration,
    launch: LaunchId,
}

impl Launched {
    async fn follow(
        self,
        mut requests: Streaming<proto::LaunchRequest>,
        events: Events,
        mut phase: watch::Receiver<Phase>,
    ) {
        loop {
            tokio::select! {
                biased;
                changed = phase.changed() => match (changed, *phase.borrow_and_update()) {
                    (Ok(()), Phase::StoppingWorkloads) => self.stop(&events),
                    (Ok(()), Phase::Running) => {}
                    // The workload goes on without us: it stays registered.
                    _ => return,
                },
                request = requests.message() => match request {
                    Ok(Some(request)) if request.ready => self.note(Readiness::Ready),
                    Ok(Some(request)) if request.unready => self.note(Readiness::Starting),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                },
                () = events.closed() => break,
            }
        }
        info!(workload = %self.workload.id, "its launcher has gone");
        self.machine.with(|plane, mesh| plane.end(&self.workload.id, self.launch, mesh));
    }

    fn note(&self, readiness: Readiness) {
        info!(workload = %self.workload.id, ?readiness, "told");
        self.machine.with(|plane, mesh| plane.note(&self.workload.id, (self.launch, readiness), mesh));
    }

    fn stop(&self, events: &Events) {
        // A launcher that takes no events is waited for in vain, but not for ever.
        let _ = events.try_send(Ok(proto::LaunchEvent { event: Some(Event::Stop(proto::Stop {})) }));
    }
}

/// A replica's suffixes and its token, out of the kernel's randomness.
fn chance() -> Result<(Vec<String>, Token), getrandom::Error> {
    let mut bytes = [0u8; SUFFIXES * SUFFIX_CHARS + TOKEN_BYTES];
    getrandom::fill(&mut bytes)?;
    let (suffixes, token) = bytes.split_at(SUFFIXES * SUFFIX_CHARS);
    // The bias (256 isn't a multiple of 27) makes no name likelier to be guessed: none is secret.
    let letter = |byte: &u8| char::from(SUFFIX_ALPHABET[usize::from(*byte) % SUFFIX_ALPHABET.len()]);
    let suffixes = suffixes.chunks(SUFFIX_CHARS).map(|chunk| chunk.iter().map(letter).collect()).collect();
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((suffixes, Token::from(token.as_str())))
}

/// Whether a proxy could listen for the mesh there.
fn is_free(host: Ipv4Addr) -> bool {
    TcpListener::bind((host, MESH_PORT)).is_ok()
}

fn status(error: &LaunchError) -> Status {
    let message = error.to_string();
    match error {
        LaunchError::Spec(_) => Status::invalid_argument(message),
        LaunchError::Address(_) | LaunchError::Suffix => Status::resource_exhausted(message),
        LaunchError::Resume(_) => Status::failed_precondition(message),
    }
}

/// `assigned` and `stop`.
const MAX_EVENTS: usize = 2;
const MESH_PORT: u16 = 15008;
const TOKEN_BYTES: usize = 32;
const SUFFIXES: usize = 8;
const SUFFIX_CHARS: usize = 5;
/// Without vowels, and without what looks alike: no words, no mistakes.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
