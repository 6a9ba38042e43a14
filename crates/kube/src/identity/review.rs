//! Asks the API server whose token it is: the edge of identity. What the answer means is judged
//! beside it.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;
use tracing::warn;
use weft_control::{Authenticator, Caller, Claim};

use super::{AUDIENCE, Proved, Refusal, judge, speak_for};
use crate::client::failed;
use crate::controller::Health;
use crate::model::Cluster;
use crate::watched::Watched;

/// Answers who a proxy is.
pub(crate) struct Reviewer {
    reviews: Api<TokenReview>,
    watched: Watched,
    health: Health,
    /// How many questions are before the API server at once.
    permits: Semaphore,
}

impl Reviewer {
    pub(crate) fn new(client: Client, watched: Watched, health: Health) -> Self {
        Self { reviews: Api::all(client), watched, health, permits: Semaphore::new(MAX_REVIEWS) }
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, Status> {
        let unavailable = || Status::unavailable("expected an answer from the API server, found none yet");
        let asked = async {
            let _permit = self.permits.acquire().await.map_err(|_| unavailable())?;
            let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
            let review = TokenReview { spec, ..TokenReview::default() };
            match self.reviews.create(&PostParams::default(), &review).await {
                Ok(answer) => {
                    self.health.mended(REVIEWS);
                    Ok(answer)
                }
                Err(error) => {
                    let reason = failed("ask whose a token is", &error).to_string();
                    if self.health.broken(REVIEWS, reason.clone()) {
                        warn!(reason, "no proxy can get a certificate now");
                    }
                    Err(unavailable())
                }
            }
        };
        let answer = timeout(REVIEW_TIMEOUT, asked).await.map_err(|_| unavailable())??;
        Ok(answer.status.unwrap_or_default())
    }

    /// Asks the watched cluster, and again as it changes: a proxy that has just started may be ahead
    /// of the watch.
    async fn settled(
        &self,
        peer: IpAddr,
        question: impl Fn(&Cluster) -> Result<Proved, Refusal>,
    ) -> Result<Caller, Status> {
        let mut changes = self.watched.changes();
        let deadline = Instant::now() + WATCH_LAG;
        loop {
            match self.watched.look(&question) {
                Ok(Proved { workload, identity, bearer }) => {
                    return Ok(Caller { workload, identity, bearer: Some(bearer) });
                }
                Err(refusal) => {
                    let more = timeout_at(deadline, changes.changed());
                    if !refusal.may_pass() || !matches!(more.await, Ok(Ok(()))) {
                        warn!(%peer, reason = %refusal, "a proxy was refused");
                        return Err(refused());
                    }
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Authenticator for Reviewer {
    async fn certifies(&self, claim: &Claim) -> Result<Caller, Status> {
        let peer = address(claim)?;
        let token = claim.token.as_deref().filter(|token| token.len() <= MAX_TOKEN_BYTES).ok_or_else(refused)?;
        let review = self.review(token).await?;
        self.settled(peer, |cluster| judge(&review, cluster, peer)).await
    }

    async fn admits(&self, claim: &Claim) -> Result<Caller, Status> {
        let peer = address(claim)?;
        let (Some(workload), Some(identity)) = (&claim.workload, &claim.client.identity) else {
            return Err(refused());
        };
        self.settled(peer, |cluster| speak_for(workload, identity, cluster, peer)).await
    }
}

fn address(claim: &Claim) -> Result<IpAddr, Status> {
    claim.client.address.map(|address| address.ip()).ok_or_else(refused)
}

/// The same for every cause: who guesses learns nothing.
fn refused() -> Status {
    Status::unauthenticated("expected the proxy of a running pod of the mesh")
}

/// What is wrong with asking is told under this name.
const REVIEWS: &str = "TokenReviews";
const MAX_REVIEWS: usize = 32;
/// A bound token has about 1 KiB.
const MAX_TOKEN_BYTES: usize = 16 << 10;
pub(super) const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// How far a watch may be behind a pod's start.
pub(super) const WATCH_LAG: Duration = Duration::from_secs(5);
