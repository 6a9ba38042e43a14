//! The streams of delta xDS: each task moves messages between one proxy and the state of
//! `distribute`, which decides what is sent. A stream keeps nothing itself.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};
use weft_mesh::WorkloadId;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use weft_wire::proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::authenticate::{Authenticator, Claim};
use crate::distribute::{Next, RequestError, SubscriberId};
use crate::limits::STATUS_TIMEOUT;
use crate::shared::Shared;

/// Sends records to proxies.
pub(crate) struct Discovery {
    pub(crate) shared: Shared,
    pub(crate) authenticator: Arc<dyn Authenticator>,
}

type Responses = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let claim = Claim::of(request.metadata(), request.extensions());
        let workload = self.authenticator.admits(&claim).await?.workload;
        let subscription = Subscription::new(&self.shared, workload)?;
        let (responses, receiver) = mpsc::channel(MAX_QUEUED);
        // It ends with its stream, with its workload, or with the control plane.
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = subscription.serve(request.into_inner(), &responses) => ended,
                () = subscription.shared.ending() => Err(Status::unavailable("the control plane ends")),
                () = responses.closed() => Ok(()),
            };
            drop(subscription);
            if let Err(status) = ended {
                tell_end(&responses, status).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn tell_end(responses: &Responses, status: Status) {
    // Who doesn't read it by then won't be told.
    let _ = timeout(STATUS_TIMEOUT, responses.send(Err(status))).await;
}

struct Subscription {
    shared: Shared,
    workload: WorkloadId,
    id: SubscriberId,
    bell: Arc<Notify>,
}

impl Subscription {
    fn new(shared: &Shared, workload: WorkloadId) -> Result<Self, Status> {
        let id = shared.with(|mesh| mesh.subscribe(workload.clone())).map_err(|error| status(&error))?;
        debug!(%workload, "a proxy subscribes");
        Ok(Self { shared: shared.clone(), workload, id, bell: shared.hang_bell(id) })
    }

    async fn serve(&self, mut requests: Streaming<DeltaDiscoveryRequest>, responses: &Responses) -> Result<(), Status> {
        loop {
            let has_more = self.send_one(responses).await?;
            tokio::select! {
                biased;
                request = requests.message() => match request {
                    Ok(Some(request)) => self.take(request)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                () = self.bell.notified() => {}
                () = std::future::ready(()), if has_more => {}
            }
        }
    }

    /// Sends what there is to send; whether there may be more.
    async fn send_one(&self, responses: &Responses) -> Result<bool, Status> {
        // With room first: until then changes merge.
        let Ok(room) = responses.reserve().await else { return Ok(false) };
        match self.shared.with(|mesh| mesh.next(self.id)) {
            Next::Send(response) => {
                room.send(Ok(response));
                Ok(true)
            }
            Next::Wait => Ok(false),
            Next::End => Err(Status::unauthenticated("the workload has ended")),
        }
    }

    fn take(&self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        if let Some(refusal) = &request.error_detail {
            warn!(workload = %self.workload, kind = request.type_url, reason = refusal.message, "a record was refused");
        } else if !request.response_nonce.is_empty() {
            debug!(workload = %self.workload, kind = request.type_url, "records were acknowledged");
        }
        self.shared.with(|mesh| mesh.request(self.id, request)).map_err(|error| {
            warn!(workload = %self.workload, %error, "a stream is ended");
            status(&error)
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.take_bell(self.id);
        self.shared.with(|mesh| mesh.unsubscribe(self.id));
    }
}

fn status(error: &RequestError) -> Status {
    let message = error.to_string();
    match error {
        RequestError::Type(_) => Status::invalid_argument(message),
        RequestError::Foreign(_) => Status::permission_denied(message),
        RequestError::TooMany | RequestError::Streams => Status::resource_exhausted(message),
        RequestError::Ended => Status::unauthenticated(message),
    }
}

/// Responses between the state and the connection; more wait in the state, merged.
const MAX_QUEUED: usize = 2;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_told_of_the_end_for_a_moment_only() {
        let (responses, _unread) = mpsc::channel(1);
        responses.send(Ok(DeltaDiscoveryResponse::default())).await.unwrap();
        let begun = Instant::now();
        tell_end(&responses, Status::unavailable("the control plane ends")).await;
        assert_eq!(begun.elapsed(), STATUS_TIMEOUT);
    }
}
