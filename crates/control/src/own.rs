//! The control plane's own certificate for its network listener: signed by its own authority, renewed
//! before it ends and whenever the authority changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::sync::watch;
use tracing::{info, warn};
use weft_identity::{Authority, Credential, LeafKey, server_config_for_anyone};
use weft_mesh::SpiffeId;
use weft_mesh::record::Trust;

use crate::certificates::Signing;
use crate::wall::until;

/// The configuration for new connections; `None` until there is a certificate.
pub(crate) type Config = watch::Receiver<Option<Arc<ServerConfig>>>;

/// Where configurations are put, and where they are read.
pub(crate) fn configs() -> (watch::Sender<Option<Arc<ServerConfig>>>, Config) {
    watch::channel(None)
}

/// Keeps a certificate for `identity`. What was there stays while no authority can sign another.
pub(crate) async fn keep(
    identity: SpiffeId,
    (mut signing, lifetime): (Signing, Duration),
    configs: watch::Sender<Option<Arc<ServerConfig>>>,
) -> Infallible {
    loop {
        let authority = signing.borrow_and_update().clone();
        let made = authority.map(|authority| make(&authority, &identity, lifetime));
        let wait = match made {
            Some(Ok((config, wait))) => {
                configs.send_replace(Some(config));
                info!(%identity, "a new certificate of our own");
                wait
            }
            Some(Err(error)) => {
                warn!(%error, "no certificate of our own");
                RETRY
            }
            None => RETRY,
        };
        let next = SystemTime::now() + wait;
        tokio::select! {
            () = until(next) => {}
            changed = signing.changed() => if changed.is_err() {
                // The authority is never changed again.
                until(next).await;
            },
        }
    }
}

fn make(
    authority: &Authority,
    identity: &SpiffeId,
    lifetime: Duration,
) -> Result<(Arc<ServerConfig>, Duration), Box<dyn std::error::Error + Send + Sync>> {
    let now = SystemTime::now();
    let key = LeafKey::generate()?;
    let leaf = authority.sign(&key.csr_pem(identity)?, identity, lifetime, now)?;
    let credential = Credential::new(key, &leaf.chain_pem, now)?;
    let wait = credential.renew_at(0.5).duration_since(now).unwrap_or(RETRY).max(RETRY);
    let trust = Trust { domain: identity.trust_domain().parse()?, anchors: authority.anchors(), ..Trust::default() };
    Ok((server_config_for_anyone(&credential, &trust, &[ALPN])?, wait))
}

/// gRPC's only protocol.
const ALPN: &[u8] = b"h2";
/// After what can't be had now.
const RETRY: Duration = Duration::from_secs(1);
