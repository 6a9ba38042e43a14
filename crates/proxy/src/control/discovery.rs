//! Records by the delta xDS transport: subscribed on demand, acknowledged when understood, refused
//! with the reason when not. After a broken stream the proxy says what it has, so that only what
//! changed is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use weft_wire::proto::envoy::service::discovery::v3 as xds;
use weft_wire::proto::google::rpc::Status;
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_NAME, TRUST_TYPE};
use xds::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;

use super::Link;
use crate::config::ControlConfig;
use crate::limits::REQUESTS;
use crate::records::{Order, Presence, Update};
use crate::report::Known;

/// Follows records for as long as anybody takes them.
pub(super) async fn follow(
    link: &Link,
    config: &ControlConfig,
    (told, known): (mpsc::Sender<Update>, &watch::Sender<Known>),
    orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut discovery = Discovery::new(link, config, (told, orders));
    loop {
        let attempt = discovery.attempt;
        discovery.attempt = attempt.saturating_add(1);
        match discovery.session(config, known).await {
            Ok(Ended::NobodyListens) => return,
            Ok(Ended::Closed) => tracing::info!("the control plane ended the stream"),
            Err(status) => tracing::warn!(%status, attempt, "the control plane is away; what is known stays in force"),
        }
        if discovery.told.send(Update::Control(Presence::Away)).await.is_err() {
            return;
        }
        tokio::time::sleep(link.retry_after(discovery.attempt.saturating_sub(1))).await;
    }
}

struct Discovery<'l> {
    link: &'l Link,
    told: mpsc::Sender<Update>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// By type: the names that are subscribed to.
    subscribed: BTreeMap<&'static str, BTreeSet<String>>,
    /// By type: the versions of what is known.
    versions: BTreeMap<&'static str, HashMap<String, String>>,
    /// Streams that brought nothing, one after another.
    attempt: u32,
}

enum Ended {
    /// The control plane ended the stream.
    Closed,
    /// The data thread has ended.
    NobodyListens,
}

impl<'l> Discovery<'l> {
    fn new(
        link: &'l Link,
        config: &ControlConfig,
        (told, orders): (mpsc::Sender<Update>, mpsc::UnboundedReceiver<Order>),
    ) -> Self {
        let one = |name: &str| BTreeSet::from([name.to_owned()]);
        let subscribed = BTreeMap::from([
            (INBOUND_TYPE, one(config.workload.as_str())),
            (TRUST_TYPE, one(TRUST_NAME)),
            (DESTINATION_TYPE, BTreeSet::new()),
        ]);
        Self { link, told, orders, subscribed, versions: BTreeMap::new(), attempt: 0 }
    }

    /// One stream, from its first request to its end.
    async fn session(&mut self, config: &ControlConfig, known: &watch::Sender<Known>) -> Result<Ended, tonic::Status> {
        while let Ok(order) = self.orders.try_recv() {
            self.note(&order);
        }
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        for request in self.first_requests(config) {
            // The channel holds more than there are types.
            let _sent = requests.try_send(request);
        }
        let request = self.link.authorized(ReceiverStream::new(outgoing))?;
        let mut client = AggregatedDiscoveryServiceClient::new(self.link.channel());
        let mut responses = client.delta_aggregated_resources(request).await?.into_inner();
        if self.told.send(Update::Control(Presence::There)).await.is_err() {
            return Ok(Ended::NobodyListens);
        }
        let mut renewed = pin!(self.link.renewed());
        loop {
            let request = tokio::select! {
                () = &mut renewed => return Ok(Ended::Closed),
                response = responses.message() => match response? {
                    None => return Ok(Ended::Closed),
                    Some(response) => match self.take(response).await {
                        Some(answer) => answer,
                        None => return Ok(Ended::NobodyListens),
                    },
                },
                order = self.orders.recv() => match order {
                    None => return Ok(Ended::NobodyListens),
                    Some(order) => self.note(&order),
                },
            };
            self.tell(known);
            if requests.send(request).await.is_err() {
                return Ok(Ended::Closed);
            }
        }
    }

    /// Says which records are known, for reports.
    fn tell(&self, known: &watch::Sender<Known>) {
        let of = |kind| self.versions.get(kind);
        let inbound = of(INBOUND_TYPE).and_then(|versions| versions.values().next()).cloned().unwrap_or_default();
        let destinations = of(DESTINATION_TYPE).map_or(0, HashMap::len);
        known.send_if_modified(|known| {
            let differs = known.inbound_version != inbound || known.destinations != destinations;
            known.inbound_version = inbound;
            known.destinations = destinations;
            differs
        });
    }

    /// What is subscribed to and what of it is known, type by type.
    fn first_requests(&self, config: &ControlConfig) -> Vec<xds::DeltaDiscoveryRequest> {
        let request = |(type_url, names): (&&'static str, &BTreeSet<String>)| xds::DeltaDiscoveryRequest {
            node: Some(xds::Node { id: config.workload.to_string() }),
            type_url: (*type_url).to_owned(),
            resource_names_subscribe: names.iter().cloned().collect(),
            initial_resource_versions: self.versions.get(*type_url).cloned().unwrap_or_default(),
            ..Default::default()
        };
        // A first request without names would ask for everything.
        self.subscribed.iter().filter(|(_, names)| !names.is_empty()).map(request).collect()
    }

    /// Remembers an order, and returns the request that passes it on.
    fn note(&mut self, order: &Order) -> xds::DeltaDiscoveryRequest {
        let names = self.subscribed.entry(DESTINATION_TYPE).or_default();
        let mut request = xds::DeltaDiscoveryRequest { type_url: DESTINATION_TYPE.to_owned(), ..Default::default() };
        match order {
            Order::Subscribe(name) => {
                names.insert(name.clone());
                request.resource_names_subscribe = vec![name.clone()];
            }
            Order::Unsubscribe(name) => {
                names.remove(name);
                if let Some(versions) = self.versions.get_mut(DESTINATION_TYPE) {
                    versions.remove(name);
                }
                request.resource_names_unsubscribe = vec![name.clone()];
            }
        }
        request
    }

    /// Passes on what can be understood; the answer acknowledges all or says what can't. `None`:
    /// nobody takes it.
    async fn take(&mut self, response: xds::DeltaDiscoveryResponse) -> Option<xds::DeltaDiscoveryRequest> {
        self.attempt = 0;
        let mut problems = Vec::new();
        for resource in response.resources {
            match self.read(resource, &response.type_url) {
                Ok(update) => self.told.send(update).await.ok()?,
                Err(problem) => problems.push(problem),
            }
        }
        for name in response.removed_resources {
            if let Some(versions) = self.versions.get_mut(response.type_url.as_str()) {
                versions.remove(&name);
            }
            // A workload's own record isn't given up: it would open what is closed.
            if response.type_url == DESTINATION_TYPE {
                self.told.send(Update::Gone(name)).await.ok()?;
            }
        }
        let error_detail = (!problems.is_empty()).then(|| Status {
            code: tonic::Code::InvalidArgument as i32,
            message: problems.join("; "),
            ..Default::default()
        });
        if let Some(status) = &error_detail {
            tracing::error!(problem = status.message, "a record can't be understood; the last one stays in force");
        }
        Some(xds::DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail,
            ..Default::default()
        })
    }

    fn read(&mut self, resource: xds::Resource, type_url: &str) -> Result<Update, String> {
        let problem = |text: String| format!("{}: {text}", resource.name);
        let any = resource.resource.as_ref().ok_or_else(|| problem("expected a resource, found none".to_owned()))?;
        let record = Record::decode(type_url, &any.value).map_err(|e| problem(e.to_string()))?;
        let (known_type, update) = match record {
            Record::Inbound(record) => (INBOUND_TYPE, Update::Inbound(Box::new(record))),
            Record::Destination(record) => (DESTINATION_TYPE, Update::Destination(Box::new(record))),
            Record::Trust(record) => {
                self.link.trust(&record);
                (TRUST_TYPE, Update::Trust(record))
            }
        };
        self.versions.entry(known_type).or_default().insert(resource.name, resource.version);
        Ok(update)
    }
}
