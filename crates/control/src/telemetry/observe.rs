//! The service for those who look: the command line asks, the hub and the registry answer.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use weft_identity::Certificate;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::observe_server::Observe;

use super::hub::{Hub, Tapping};
use super::resource::{self, Other, POD, SERVICE};
use crate::certificates::Signing;
use crate::shared::{Shared, seconds};

/// Answers those who look.
pub(crate) struct Observer {
    pub(crate) shared: Shared,
    pub(crate) hub: Hub,
    pub(crate) signing: Signing,
}

#[tonic::async_trait]
impl Observe for Observer {
    type TapStream = TapStream;

    async fn stat(&self, request: Request<proto::StatRequest>) -> Result<Response<proto::StatResponse>, Status> {
        self.hub.flush().await;
        let request = request.into_inner();
        let window = window(request.window_seconds)?;
        if let Some(asked) = &request.resource {
            let other = other(asked, request.to, request.from)?;
            return Ok(Response::new(self.resources(asked, &other, window)));
        }
        let (mut rows, covered) = self.hub.stat(window);
        rows.extend(self.silent(&rows));
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Response::new(proto::StatResponse { covered_seconds: covered.as_secs_f64(), rows }))
    }

    async fn edges(&self, request: Request<proto::EdgesRequest>) -> Result<Response<proto::EdgesResponse>, Status> {
        self.hub.flush().await;
        let request = request.into_inner();
        let window = window(request.window_seconds)?;
        let (edges, covered) = match &request.resource {
            Some(asked) => self.hub.resource_edges(asked, window),
            None => self.hub.edges(window),
        };
        Ok(Response::new(proto::EdgesResponse { covered_seconds: covered.as_secs_f64(), edges }))
    }

    async fn tap(&self, request: Request<proto::TapFilter>) -> Result<Response<TapStream>, Status> {
        let too_many = || Status::resource_exhausted("expected fewer who watch calls at once");
        let (tapping, events) = self.hub.tap(request.into_inner()).ok_or_else(too_many)?;
        let ending = self.shared.clone();
        let ending = Box::pin(async move { ending.ending().await });
        Ok(Response::new(TapStream { events, ending, _tapping: tapping }))
    }

    async fn proxies(&self, _: Request<proto::ProxiesRequest>) -> Result<Response<proto::ProxiesResponse>, Status> {
        self.hub.flush().await;
        let mut told = self.hub.told();
        let mut proxies = self.shared.with(|mesh| mesh.proxies());
        for proxy in &mut proxies {
            let told = proxy.workload.parse().ok().and_then(|id| told.remove(&id)).unwrap_or_default();
            proxy.health = told.health;
            proxy.certificate = told.leaf;
            proxy.last_seen = told.seen.map(seconds).unwrap_or_default();
        }
        let authority = self.signing.borrow().clone();
        let root = authority.as_ref().map(|authority| certificate(authority.root()));
        let issuer = authority.as_ref().map(|authority| certificate(authority.issuer()));
        Ok(Response::new(proto::ProxiesResponse { proxies, root, issuer }))
    }
}

impl Observer {
    /// Rows of resources: those that run, and those that ended within the window.
    fn resources(&self, asked: &proto::Resource, other: &Other, window: Duration) -> proto::StatResponse {
        let (mut traffic, covered) = self.hub.traffic(asked, other, window);
        let present = self.shared.with(|mesh| resource::present(mesh, asked));
        if *other == Other::Anyone {
            for place in present.keys() {
                traffic.entry(place.clone()).or_default();
            }
        }
        if asked.kind == SERVICE {
            // Callees know their application, which needn't be called as a Service is.
            traffic.retain(|place, _| present.contains_key(place));
        }
        let row = |(place, traffic): (resource::Place, proto::Traffic)| {
            let (meshed, pods) = present.get(&place).copied().unwrap_or_default();
            let (namespace, name) = place;
            let resource = proto::Resource { kind: asked.kind.clone(), namespace, name };
            proto::StatRow {
                resource: Some(resource),
                traffic: Some(traffic),
                meshed,
                pods,
                ..proto::StatRow::default()
            }
        };
        let rows = traffic.into_iter().map(row).collect();
        proto::StatResponse { covered_seconds: covered.as_secs_f64(), rows }
    }

    /// Rows of the services that run and of which nothing is told.
    fn silent(&self, rows: &[proto::StatRow]) -> Vec<proto::StatRow> {
        let told: HashSet<(&str, &str)> = rows.iter().map(|row| (order(row).0, order(row).1)).collect();
        let running = self.shared.with(|mesh| mesh.running_services());
        let silent = running.into_iter().filter(|name| !told.contains(&(&*name.namespace, &*name.name)));
        let row = |name| proto::StatRow {
            service: Some(name),
            traffic: Some(proto::Traffic::default()),
            ..Default::default()
        };
        silent.map(row).collect()
    }
}

/// Events for one who watches; the watch ends with the stream.
pub(crate) struct TapStream {
    events: mpsc::Receiver<proto::TapEvents>,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    _tapping: Tapping,
}

impl Stream for TapStream {
    type Item = Result<proto::TapEvents, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ending.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.events.poll_recv(context).map(|events| events.map(Ok))
    }
}

/// Pods are counted apart from what made them, and so can't be told against each other.
fn other(asked: &proto::Resource, to: Option<proto::Resource>, from: Option<proto::Resource>) -> Result<Other, Status> {
    let other = match (to, from) {
        (None, None) => Other::Anyone,
        (Some(to), None) => Other::To(to),
        (None, Some(from)) => Other::From(from),
        (Some(_), Some(_)) => return Err(Status::invalid_argument("expected to or from, found both")),
    };
    let is_pod = |kind: &str| kind == POD;
    match &other {
        Other::To(far) | Other::From(far) if is_pod(&far.kind) != is_pod(&asked.kind) => {
            Err(Status::invalid_argument("expected pods on both sides, or on none"))
        }
        _ => Ok(other),
    }
}

fn window(seconds: u32) -> Result<Duration, Status> {
    match seconds {
        1..=3_600 => Ok(Duration::from_secs(seconds.into())),
        other => Err(Status::invalid_argument(format!("expected a window from a second to an hour, found {other} s"))),
    }
}

fn order(row: &proto::StatRow) -> (&str, &str, &str) {
    let (namespace, name) = row.service.as_ref().map(|s| (s.namespace.as_str(), s.name.as_str())).unwrap_or_default();
    (namespace, name, &row.route)
}

fn certificate(certificate: &Certificate) -> proto::AuthorityCertificate {
    proto::AuthorityCertificate {
        subject: certificate.subject.clone(),
        serial: certificate.serial.clone(),
        not_before: seconds(certificate.not_before),
        not_after: seconds(certificate.not_after),
    }
}
