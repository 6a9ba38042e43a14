//! The services of a control plane, put together for those who may call them. Which workloads there
//! are, and who may speak for them, its home says.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use weft_mesh::SpiffeId;
use weft_wire::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use weft_wire::proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateServiceServer;
use weft_wire::proto::weft::v1::control_server::ControlServer;
use weft_wire::proto::weft::v1::observe_server::ObserveServer;
use weft_wire::proto::weft::v1::telemetry_server::TelemetryServer;

use crate::authenticate::Authenticator;
use crate::certificates::{Certificates, Signing};
use crate::discovery::Discovery;
use crate::error::ControlError;
use crate::limits::{CALLS, PING, PING_WAIT};
use crate::queries::{Asked, Facts, Queries};
use crate::shared::Shared;
use crate::telemetry::{Hub, Observer, Reports};
use crate::{network, own};

/// What a control plane serves; cheap to clone.
#[derive(Clone)]
pub struct Services {
    shared: Shared,
    authenticator: Arc<dyn Authenticator>,
    signing: Signing,
    lifetime: Duration,
    hub: Hub,
}

impl Services {
    /// The services over a mesh. `signing` is the authority at each time; no leaf lives longer than
    /// `lifetime`.
    pub fn new(shared: Shared, authenticator: Arc<dyn Authenticator>, signing: Signing, lifetime: Duration) -> Self {
        Self { shared, authenticator, signing, lifetime, hub: Hub::new() }
    }

    /// Serves proxies over the network until everything ends: certificates, records and telemetry,
    /// under TLS as `identity`, with a certificate that the authority signs for it.
    ///
    /// A client may come without a certificate: what it may do so is the authenticator's to say.
    ///
    /// # Errors
    /// [`ControlError::Server`].
    pub async fn serve_proxies(&self, listener: TcpListener, identity: SpiffeId) -> Result<(), ControlError> {
        let (configs, config) = own::configs();
        let kept = own::keep(identity, (self.signing.clone(), self.lifetime), configs);
        let mut server = self.server().http2_keepalive_interval(Some(PING)).http2_keepalive_timeout(Some(PING_WAIT));
        let served = server.add_routes(self.for_proxies());
        let served = served.serve_with_incoming_shutdown(network::secured(listener, config), self.shared.ending());
        tokio::select! {
            served = served => served.map_err(|error| ControlError::Server(error.to_string())),
            never = kept => match never {},
        }
    }

    /// Serves the command line until everything ends. Everybody who reaches the listener may ask, so
    /// it must be one of loopback.
    ///
    /// # Errors
    /// [`ControlError::Server`].
    pub async fn serve_command_line(&self, listener: TcpListener, facts: Facts) -> Result<(), ControlError> {
        let routes = Routes::new(ControlServer::new(Asked(self.queries(facts))));
        let served = self.server().add_routes(routes.add_service(self.for_observers()));
        let served = served.serve_with_incoming_shutdown(network::forwarded(listener), self.shared.ending());
        served.await.map_err(|error| ControlError::Server(error.to_string()))
    }

    /// The whole mesh's metrics, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        self.hub.page()
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn queries(&self, facts: Facts) -> Queries {
        Queries { shared: self.shared.clone(), signing: self.signing.clone(), facts }
    }

    pub(crate) fn server(&self) -> Server {
        Server::builder().max_concurrent_streams(CALLS)
    }

    pub(crate) fn for_proxies(&self) -> Routes {
        let (shared, authenticator) = (self.shared.clone(), Arc::clone(&self.authenticator));
        let certificates = Certificates {
            authenticator: Arc::clone(&authenticator),
            signing: self.signing.clone(),
            lifetime: self.lifetime,
        };
        let discovery = Discovery { shared: shared.clone(), authenticator: Arc::clone(&authenticator) };
        let reports = Reports { shared, hub: self.hub.clone(), authenticator };
        Routes::new(IstioCertificateServiceServer::new(certificates))
            .add_service(AggregatedDiscoveryServiceServer::new(discovery))
            .add_service(TelemetryServer::new(reports))
    }

    pub(crate) fn for_observers(&self) -> ObserveServer<Observer> {
        let (shared, hub, signing) = (self.shared.clone(), self.hub.clone(), self.signing.clone());
        ObserveServer::new(Observer { shared, hub, signing })
    }
}
