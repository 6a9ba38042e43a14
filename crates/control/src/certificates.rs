//! The certificate service: a proxy's token says who it is, and only that identity is certified.
//! Nothing of the request but its key counts, and nothing of it is logged.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status};
use tracing::{debug, warn};
use weft_identity::Authority;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateService;
use weft_wire::proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use crate::shared::Shared;

/// Certifies the keys of registered workloads.
pub(crate) struct Certificates {
    pub(crate) shared: Shared,
    pub(crate) authority: Arc<Authority>,
    /// The longest life of a leaf, and that of one which asks for none.
    pub(crate) lifetime: Duration,
}

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let workload = self.shared.authenticate(request.metadata())?;
        let message = request.into_inner();
        let lifetime = match u64::try_from(message.validity_duration) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(self.lifetime),
            _ => self.lifetime,
        };
        match self.authority.sign(&message.csr, &workload.identity, lifetime, SystemTime::now()) {
            Ok(leaf) => {
                debug!(workload = %workload.id, identity = %workload.identity, "certified");
                Ok(Response::new(IstioCertificateResponse { cert_chain: leaf.chain_pem }))
            }
            Err(error) => {
                warn!(workload = %workload.id, %error, "a certificate was refused");
                Err(Status::invalid_argument(error.to_string()))
            }
        }
    }
}
