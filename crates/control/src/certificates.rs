//! The certificate service: the authenticator says who asks, and only that identity is certified.
//! Nothing of the request but its key counts, and nothing of it is logged.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::{debug, warn};
use weft_identity::Authority;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateService;
use weft_wire::proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use crate::authenticate::{Authenticator, Claim};

/// The authority that signs at a time, as its owner changes it; `None` while there is none that can.
pub type Signing = watch::Receiver<Option<Arc<Authority>>>;

/// Certifies the keys of workloads.
pub(crate) struct Certificates {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) signing: Signing,
    /// The longest life of a leaf, and that of one which asks for none.
    pub(crate) lifetime: Duration,
}

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let caller = self.authenticator.certifies(&Claim::of(request.metadata(), request.extensions())).await?;
        let message = request.into_inner();
        let lifetime = match u64::try_from(message.validity_duration) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(self.lifetime),
            _ => self.lifetime,
        };
        let Some(authority) = self.signing.borrow().clone() else {
            return Err(Status::unavailable("expected an issuer that can sign, found none: see weft check"));
        };
        let (csr, identity, now) = (&message.csr, &caller.identity, SystemTime::now());
        let signed = match &caller.bearer {
            Some(bearer) => authority.sign_for(csr, (identity, bearer), lifetime, now),
            None => authority.sign(csr, identity, lifetime, now),
        };
        match signed {
            Ok(leaf) => {
                debug!(workload = %caller.workload, identity = %caller.identity, "certified");
                Ok(Response::new(IstioCertificateResponse { cert_chain: leaf.chain_pem }))
            }
            Err(error) => {
                warn!(workload = %caller.workload, %error, "a certificate was refused");
                Err(Status::invalid_argument(error.to_string()))
            }
        }
    }
}
