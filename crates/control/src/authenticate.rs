//! Who speaks to the control plane: what a connection and a call say of themselves, and the question
//! that each home answers in its own way, by a registry's tokens or by an API server's.

use std::net::SocketAddr;

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};
use weft_identity::Bearer;
use weft_mesh::{SpiffeId, WorkloadId};
use weft_wire::WORKLOAD_KEY;

/// Says who calls.
///
/// Reasons of a refusal go to the log; the status doesn't say what was wrong. `UNAVAILABLE` is for
/// what may be answered later: the caller tries again.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who asks for a certificate: the identity that is certified.
    async fn certifies(&self, claim: &Claim) -> Result<Caller, Status>;

    /// Whose proxy asks for records, or reports.
    async fn admits(&self, claim: &Claim) -> Result<Caller, Status>;
}

/// A proxy that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For which workload it speaks.
    pub workload: WorkloadId,
    /// Who that is.
    pub identity: SpiffeId,
    /// What its certificate is to say of it, where that is known.
    pub bearer: Option<Bearer>,
}

/// What a call says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// What its `authorization: Bearer …` holds.
    pub token: Option<String>,
    /// The workload that it speaks for, by its own word (metadata [`WORKLOAD_KEY`]): to be checked.
    pub workload: Option<WorkloadId>,
    /// Its connection.
    pub client: Client,
}

/// The other end of a connection. Unix sockets have neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// The identity that its certificate proved.
    pub identity: Option<SpiffeId>,
}

impl Claim {
    /// What a call's metadata and connection say.
    pub(crate) fn of(metadata: &MetadataMap, extensions: &Extensions) -> Self {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        Self {
            token: text("authorization").and_then(|text| text.strip_prefix("Bearer ")).map(str::to_owned),
            workload: text(WORKLOAD_KEY).and_then(|text| text.parse().ok()),
            client: extensions.get::<Client>().cloned().unwrap_or_default(),
        }
    }
}
