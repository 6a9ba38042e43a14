//! Who a proxy is: a bound token that the API server vouches for, or the certificate that it got for
//! one, each held against the pod that the watch knows. What is judged is pure; the one who is refused
//! never learns why, the log does.

mod review;

use std::net::IpAddr;

use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use weft_identity::Bearer;
use weft_mesh::{SpiffeId, WorkloadId};

use crate::model::Cluster;
use crate::model::pod::{Place, Pod};

pub(crate) use self::review::Reviewer;

/// A pod whose proxy has proved that it is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) workload: WorkloadId,
    pub(crate) identity: SpiffeId,
    /// What its certificate says of it.
    pub(crate) bearer: Bearer,
}

/// Why a proxy isn't believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("expected a token that the API server knows: {0}")]
    Token(String),
    #[error("expected a token for the audience {AUDIENCE}, found {0:?}")]
    Audience(Vec<String>),
    #[error("expected the token of a service account, found one of {0:?}")]
    Account(String),
    #[error("expected a token that is bound to a pod, found one of {0} that isn't")]
    Unbound(String),
    #[error("expected a pod, found no {0}")]
    NoPod(WorkloadId),
    #[error("expected the pod {workload} of uid {found:?}, found one of uid {expected:?}")]
    OtherPod { workload: WorkloadId, expected: String, found: String },
    #[error("expected {workload} to run as {expected}, found {found}")]
    OtherAccount { workload: WorkloadId, expected: String, found: String },
    #[error("expected {0} to have an address of its own, found none yet")]
    NoAddress(WorkloadId),
    #[error("expected {0} to run, found that it has ended or shares its node's addresses")]
    NoPlace(WorkloadId),
    #[error("expected a connection from {workload}, found one from {found}")]
    Address { workload: WorkloadId, found: IpAddr },
}

impl Refusal {
    /// Whether the watch may only be behind: a pod asks as soon as it starts.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::NoPod(_) | Self::OtherPod { .. } | Self::NoAddress(_) | Self::Address { .. })
    }
}

/// Whom a token is of: that which the API server says of it must fit a pod of the cluster, and the
/// connection must come from that pod.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn judge(review: &TokenReviewStatus, cluster: &Cluster, peer: IpAddr) -> Result<Proved, Refusal> {
    if review.authenticated != Some(true) {
        return Err(Refusal::Token(review.error.clone().unwrap_or_else(|| "it doesn't".to_owned())));
    }
    let audiences = review.audiences.clone().unwrap_or_default();
    if !audiences.iter().any(|audience| audience == AUDIENCE) {
        return Err(Refusal::Audience(audiences));
    }
    let user = review.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let (namespace, account) = account.ok_or_else(|| Refusal::Account(name.clone()))?;
    let extra = user.extra.unwrap_or_default();
    let one = |key: &str| match extra.get(key).map(Vec::as_slice) {
        Some([value]) => Ok(value.clone()),
        _ => Err(Refusal::Unbound(name.clone())),
    };
    let (pod, uid) = (one(POD_NAME)?, one(POD_UID)?);
    let workload = WorkloadId::new(namespace, &pod).map_err(|_| Refusal::Unbound(name.clone()))?;
    let known = cluster.pod(&workload).ok_or_else(|| Refusal::NoPod(workload.clone()))?;
    if known.uid != uid {
        return Err(Refusal::OtherPod { workload, expected: known.uid.clone(), found: uid });
    }
    let proved = admit(&workload, cluster, peer)?;
    match proved.identity.service_account() == account {
        true => Ok(proved),
        false => {
            let expected = proved.identity.service_account().to_owned();
            Err(Refusal::OtherAccount { workload, expected, found: account.to_owned() })
        }
    }
}

/// Whether a proxy that has proved an identity may speak for a pod.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn speak_for(
    workload: &WorkloadId,
    identity: &SpiffeId,
    cluster: &Cluster,
    peer: IpAddr,
) -> Result<Proved, Refusal> {
    let proved = admit(workload, cluster, peer)?;
    if proved.identity == *identity {
        return Ok(proved);
    }
    let (expected, found) = (proved.identity.to_string(), identity.to_string());
    Err(Refusal::OtherAccount { workload: workload.clone(), expected, found })
}

/// The pod of that name, if the connection comes from it.
fn admit(workload: &WorkloadId, cluster: &Cluster, peer: IpAddr) -> Result<Proved, Refusal> {
    let pod = cluster.pod(workload).ok_or_else(|| Refusal::NoPod(workload.clone()))?;
    match &pod.place {
        Place::Own(addresses) if addresses.is_empty() => return Err(Refusal::NoAddress(workload.clone())),
        Place::Own(_) => {}
        Place::Host | Place::Gone => return Err(Refusal::NoPlace(workload.clone())),
    }
    let found = peer.to_canonical();
    if !cluster.addresses(workload, pod).any(|address| address == found) {
        return Err(Refusal::Address { workload: workload.clone(), found });
    }
    let identity = cluster.identity(workload, pod).ok_or_else(|| Refusal::NoPlace(workload.clone()))?;
    Ok(Proved { workload: workload.clone(), identity, bearer: bearer(workload, pod) })
}

/// What made the pod; a pod that nothing made tells its own name.
fn bearer(workload: &WorkloadId, pod: &Pod) -> Bearer {
    let (kind, name) = match &pod.owner {
        Some(owner) => (owner.kind.clone(), owner.name.clone()),
        None => (String::new(), workload.name().to_owned()),
    };
    Bearer { workload: name, kind, app: pod.service.clone() }
}

/// The audience of the tokens that the mesh asks for.
pub(crate) const AUDIENCE: &str = "weft.io";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

#[cfg(test)]
mod tests;
