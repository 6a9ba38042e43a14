//! The streams on which proxies report: each task moves messages between one proxy and the hub.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};
use weft_mesh::WorkloadId;
use weft_wire::proto::weft::v1::telemetry_server::Telemetry;
use weft_wire::proto::weft::v1::{Reporter, Resource, Series, Signals, Watch};

use super::hub::{self, Hub, Known, Owners, Reporting};
use super::resource;
use crate::authenticate::{Authenticator, Claim};
use crate::shared::Shared;

/// Takes reports.
pub(crate) struct Reports {
    pub(crate) shared: Shared,
    pub(crate) hub: Hub,
    pub(crate) authenticator: Arc<dyn Authenticator>,
}

type Watches = mpsc::Sender<Result<Watch, Status>>;

#[tonic::async_trait]
impl Telemetry for Reports {
    type ReportStream = ReceiverStream<Result<Watch, Status>>;

    async fn report(&self, request: Request<Streaming<Signals>>) -> Result<Response<Self::ReportStream>, Status> {
        let claim = Claim::of(request.metadata(), request.extensions());
        let id = self.authenticator.admits(&claim).await?.workload;
        debug!(workload = %id, "a proxy reports");
        let known = self.shared.with(|mesh| {
            let workload = mesh.workload(&id);
            workload.map(|workload| Known { service: workload.service.clone(), owner: workload.owner.clone() })
        });
        let reporting = self.hub.report(&id, known.unwrap_or_default());
        let watched = self.hub.watched();
        let (watches, receiver) = mpsc::channel(MAX_QUEUED);
        let shared = self.shared.clone();
        // It outlives its workload's registration: a proxy that drains has something to tell.
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = serve(&reporting, request.into_inner(), (watched, &watches), (&shared, &id)) => ended,
                () = shared.ending() => Err(Status::unavailable("the control plane ends")),
            };
            if let Err(status) = ended {
                warn!(workload = %id, %status, "a proxy's report ends");
                // Who has no room for it won't be told.
                let _full = watches.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn serve(
    reporting: &Reporting,
    mut signals: Streaming<Signals>,
    (mut watched, watches): (watch::Receiver<Watch>, &Watches),
    (shared, id): (&Shared, &WorkloadId),
) -> Result<(), Status> {
    watched.mark_changed();
    loop {
        tokio::select! {
            message = signals.message() => match message {
                Ok(Some(message)) => {
                    let owners = owners(shared, &message.series);
                    let taken = reporting.take(message, &owners);
                    taken.map_err(|error| Status::invalid_argument(error.to_string()))?;
                }
                Ok(None) | Err(_) => return Ok(()),
            },
            // With room first: until then changes merge.
            room = room(&mut watched, watches) => match room {
                Some(room) => {
                    let watch = watched.borrow_and_update().clone();
                    room.send(Ok(hub::meant(watch, |resource| concerns(shared, id, resource))));
                }
                None => return Ok(()),
            },
        }
    }
}

/// Who made the workloads that were called.
fn owners(shared: &Shared, series: &[Series]) -> Owners {
    let called = series.iter().filter(|series| series.reporter() == Reporter::Source);
    let ids = called.filter_map(|series| {
        let party = series.destination.as_ref()?;
        WorkloadId::new(&party.namespace, &party.workload).ok()
    });
    shared.with(|mesh| {
        let owner = |id: WorkloadId| Some((mesh.workload(&id)?.owner.clone()?, id));
        ids.filter_map(owner).map(|(owner, id)| (id, owner)).collect()
    })
}

/// Whether a workload is one of those that a resource stands for.
fn concerns(shared: &Shared, id: &WorkloadId, resource: &Resource) -> bool {
    shared.with(|mesh| mesh.workload(id).is_some_and(|workload| resource::is_of(mesh, workload, resource)))
}

/// Room for a message, once there is a change to tell; `None` when nobody takes it.
async fn room<'a>(
    watched: &mut watch::Receiver<Watch>,
    watches: &'a Watches,
) -> Option<mpsc::Permit<'a, Result<Watch, Status>>> {
    watched.changed().await.ok()?;
    // Seen is what is sent, not what only rang.
    watched.mark_changed();
    watches.reserve().await.ok()
}

/// Messages to a proxy that reads slowly.
const MAX_QUEUED: usize = 2;
