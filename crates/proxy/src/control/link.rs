//! How the control plane is reached, and how the proxy proves there who it is: by a token on one
//! machine's socket; over the network by a token once, and then by its certificate.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;
use weft_identity::{Credential, retry_after};
use weft_mesh::record::Trust;

use super::network::Network;
use super::{jitter, socket};
use crate::config::{ControlAddress, ControlConfig};
use crate::limits::{CERTIFICATE_WAIT, CERTIFICATE_WAIT_NETWORK, RECONNECT_SPREAD};

/// The way to the control plane. Clones share it.
#[derive(Clone)]
pub(crate) enum Link {
    Socket(Channel, Arc<str>),
    Network(Rc<Network>),
}

impl Link {
    pub(super) fn new(config: &ControlConfig) -> Self {
        match &config.address {
            ControlAddress::Socket(address) => {
                Self::Socket(socket::channel(&address.socket), Arc::from(address.token.as_str()))
            }
            ControlAddress::Network(control) => Self::Network(Rc::new(Network::new(control, &config.workload))),
        }
    }

    /// For records and reports. It connects when it is used, over the network not before there is a
    /// certificate.
    pub(crate) fn channel(&self) -> Channel {
        match self {
            Self::Socket(channel, _) => channel.clone(),
            Self::Network(network) => network.channel(),
        }
    }

    /// A request for records or reports.
    pub(crate) fn authorized<T>(&self, message: T) -> Result<tonic::Request<T>, tonic::Status> {
        match self {
            Self::Socket(_, token) => bearing(message, token),
            Self::Network(network) => network.named(tonic::Request::new(message)),
        }
    }

    /// For a certificate, with the request for it.
    pub(super) fn asking<T>(&self, message: T) -> Result<(Channel, tonic::Request<T>), tonic::Status> {
        match self {
            Self::Socket(channel, token) => Ok((channel.clone(), bearing(message, token)?)),
            Self::Network(network) => {
                let request = network.named(bearing(message, &network.token()?)?)?;
                Ok((network.first_channel()?, request))
            }
        }
    }

    /// How long an answer to that may take.
    pub(super) fn certificate_wait(&self) -> Duration {
        match self {
            Self::Socket(..) => CERTIFICATE_WAIT,
            Self::Network(_) => CERTIFICATE_WAIT_NETWORK,
        }
    }

    /// How long to rest when `attempt` attempts (counted from 0) have failed. Over the network all
    /// proxies of a mesh lose the control plane at once, and are to come back one after another.
    pub(crate) fn retry_after(&self, attempt: u32) -> Duration {
        match self {
            Self::Socket(..) => retry_after(attempt, jitter()),
            Self::Network(_) => RECONNECT_SPREAD.min(LEAST_SPREAD * (1 << attempt.min(8))).mul_f64(jitter()),
        }
    }

    /// Waits until what the control plane is shown has been renewed: then it's time for new streams,
    /// which are begun with the newest.
    pub(crate) async fn renewed(&self) {
        match self {
            Self::Socket(..) => std::future::pending().await,
            Self::Network(network) => network.renewed().await,
        }
    }

    /// Takes the newest certificate.
    pub(super) fn renew(&self, credential: Arc<Credential>) {
        if let Self::Network(network) = self {
            network.renew(credential);
        }
    }

    /// Takes the newest anchors.
    pub(super) fn trust(&self, trust: &Trust) {
        if let Self::Network(network) = self {
            network.trust(trust);
        }
    }
}

fn bearing<T>(message: T, token: &str) -> Result<tonic::Request<T>, tonic::Status> {
    let mut request = tonic::Request::new(message);
    let bearer = format!("Bearer {token}").parse();
    let bearer = bearer.map_err(|_| tonic::Status::unauthenticated("expected a token of printable characters"))?;
    request.metadata_mut().insert("authorization", bearer);
    Ok(request)
}

const LEAST_SPREAD: Duration = Duration::from_millis(500);
