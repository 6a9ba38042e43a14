//! This proxy's certificate: asked for at the start and renewed in time. The key is made here and
//! never leaves the process.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use weft_identity::{Credential, LeafKey};
use weft_wire::proto::istio::v1::auth::IstioCertificateRequest;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use weft_wire::proto::weft::v1::Leaf;

use super::wall_clock::wait_until;
use super::{Link, jitter};
use crate::config::ControlConfig;
use crate::records::Update;
use crate::report::Known;

/// Keeps a certificate that holds. Ends when nobody takes it.
pub(super) async fn keep(
    link: &Link,
    config: &ControlConfig,
    (told, known): (mpsc::Sender<Update>, &watch::Sender<Known>),
) {
    let mut attempt = 0u32;
    loop {
        let wait = link.certificate_wait();
        let asked = tokio::time::timeout(wait, ask(link, config)).await;
        match asked.unwrap_or_else(|_| Err(format!("no answer within {} s", wait.as_secs()))) {
            Ok(credential) => {
                attempt = 0;
                let renewal = credential.renew_at(jitter());
                tracing::info!(identity = %credential.id(), serial = credential.serial(), "a certificate came");
                known.send_modify(|known| known.leaf = Some(leaf(&credential, renewal)));
                let credential = Arc::new(credential);
                link.renew(credential.clone());
                if told.send(Update::Credential(credential)).await.is_err() {
                    return;
                }
                wait_until(renewal).await;
            }
            Err(problem) => {
                tracing::warn!(problem, attempt, "no certificate");
                tokio::time::sleep(link.retry_after(attempt)).await;
                attempt = attempt.saturating_add(1);
            }
        }
    }
}

async fn ask(link: &Link, config: &ControlConfig) -> Result<Credential, String> {
    let key = LeafKey::generate().map_err(|e| e.to_string())?;
    let csr = key.csr_pem(&config.identity).map_err(|e| e.to_string())?;
    // How long it holds is the authority's to say.
    let request = IstioCertificateRequest { csr, validity_duration: 0 };
    let (channel, request) = link.asking(request).map_err(|e| e.to_string())?;
    let mut client = IstioCertificateServiceClient::new(channel);
    let response = client.create_certificate(request).await.map_err(|status| status.to_string())?;
    Credential::new(key, &response.into_inner().cert_chain, SystemTime::now()).map_err(|e| e.to_string())
}

/// What is told of the certificate in use.
fn leaf(credential: &Credential, renewal: SystemTime) -> Leaf {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    Leaf {
        identity: credential.id().to_string(),
        serial: credential.serial().to_owned(),
        not_before: seconds(credential.not_before()),
        not_after: seconds(credential.not_after()),
        received_at: seconds(SystemTime::now()),
        renew_at: seconds(renewal),
    }
}
