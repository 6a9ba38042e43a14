//! The mesh as its control plane knows it: workloads, services and policies go in, one at a time, and
//! the records that follow go out to whom they concern. Pure: no clock, no I/O. Where workloads and
//! services come from (a registry of its own, an API server) is its owner's affair.

mod networks;
mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem;
use std::net::IpAddr;

use weft_compile::{PolicySet, Proxy, Service, ServiceEndpoint, Settings, Workload};
use weft_mesh::WorkloadId;
use weft_mesh::record::{Inbound, Trust};
use weft_resources::{Problem, Resource};
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::record::Record;

use crate::distribute::{Distribution, Kind, Next, Refusal, RequestError, Standing, SubscriberId};
use networks::Networks;
pub use target::TargetError;

/// A mesh and its records.
///
/// A change costs what it changes: the records of the workload or service itself, and of those that
/// name it. Whoever fills an empty mesh puts in policies first, then workloads, then services, so
/// that each record is compiled once.
#[derive(Debug)]
pub struct Mesh {
    settings: Settings,
    resources: Vec<Resource>,
    policies: PolicySet,
    /// What is wrong with the resources' source, and with resources beside each other.
    problems: Vec<Problem>,
    workloads: BTreeMap<WorkloadId, Workload>,
    services: BTreeMap<ServiceName, Service>,
    /// The services of which a workload is an endpoint, be it known yet or not.
    memberships: HashMap<WorkloadId, BTreeSet<ServiceName>>,
    trust: Option<Trust>,
    networks: Networks,
    distribution: Distribution,
    wake: BTreeSet<SubscriberId>,
}

/// A service's namespace and name.
pub type ServiceName = (String, String);

impl Mesh {
    /// A mesh without workloads, services, policies and trust.
    pub fn new(settings: Settings) -> Self {
        let (policies, _) = PolicySet::new(&settings, &[]);
        Self {
            settings,
            resources: Vec::new(),
            policies,
            problems: Vec::new(),
            workloads: BTreeMap::new(),
            services: BTreeMap::new(),
            memberships: HashMap::new(),
            trust: None,
            networks: Networks::default(),
            distribution: Distribution::default(),
            wake: BTreeSet::new(),
        }
    }

    /// Whom to trust from now on. Where the mesh's addresses lie it knows itself.
    pub fn set_trust(&mut self, trust: Trust) {
        self.trust = Some(trust);
        self.publish_trust();
    }

    /// Puts other resources in force; `problems` are those of their source. Only workloads that a
    /// resource governs or governed which came, went or changed are compiled again.
    pub fn replace_policies(&mut self, resources: Vec<Resource>, problems: Vec<Problem>) {
        let concerned = Concerned::by(&self.resources, &resources, &self.settings);
        let (policies, more) = PolicySet::new(&self.settings, &resources);
        (self.policies, self.resources, self.problems) = (policies, resources, problems);
        self.problems.extend(more);
        let ids = self.workloads.keys().filter(|id| concerned.includes(id.namespace()));
        for id in ids.cloned().collect::<Vec<_>>() {
            self.publish_inbound(&id);
        }
    }

    /// A workload has come, or has changed.
    pub fn put_workload(&mut self, workload: Workload) {
        let id = workload.id.clone();
        let old = self.workloads.get(&id);
        if old == Some(&workload) {
            return;
        }
        let same_reach = old.is_some_and(|old| old.proxy == workload.proxy && old.identity == workload.identity);
        let addresses = workload.addresses.clone();
        let old = self.workloads.insert(id.clone(), workload);
        self.move_addresses(old.map(|old| old.addresses), &addresses);
        self.publish_workload(&id);
        if !same_reach {
            self.publish_services_of(&id);
        }
    }

    /// A workload has ended: its proxy's streams end too.
    pub fn remove_workload(&mut self, id: &WorkloadId) {
        let Some(old) = self.workloads.remove(id) else { return };
        self.move_addresses(Some(old.addresses), &[]);
        self.wake.extend(self.distribution.end(id));
        self.publish_workload(id);
        self.publish_services_of(id);
    }

    /// A service has come, or has changed.
    pub fn put_service(&mut self, service: Service) {
        let name = (service.namespace.clone(), service.name.clone());
        let old = self.services.get(&name);
        if old == Some(&service) {
            return;
        }
        let changed = changed_members(old, Some(&service));
        let addresses = service.addresses.clone();
        let old = self.services.insert(name.clone(), service);
        self.move_addresses(old.map(|old| old.addresses), &addresses);
        self.renew_members(&name, changed);
        self.publish_service(&name);
    }

    /// A service has gone.
    pub fn remove_service(&mut self, namespace: &str, name: &str) {
        let name = (namespace.to_owned(), name.to_owned());
        let Some(old) = self.services.remove(&name) else { return };
        self.move_addresses(Some(old.addresses.clone()), &[]);
        self.renew_members(&name, changed_members(Some(&old), None));
        self.publish_service(&name);
    }

    /// The settings that hold for the whole mesh.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A workload by its id.
    pub fn workload(&self, id: &WorkloadId) -> Option<&Workload> {
        self.workloads.get(id)
    }

    /// All workloads, by id.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// All services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The inbound record of a workload, as its proxy has it or would have it.
    pub fn inbound(&self, id: &WorkloadId) -> Option<Inbound> {
        let workload = self.workloads.get(id)?;
        Some(weft_compile::inbound(&self.policies, workload, &self.services_of(id)))
    }

    /// What is wrong: in the resources' source, among them, and what proxies refused.
    pub fn problems(&self) -> Vec<String> {
        let refusals = self.refusals().into_iter().map(|refusal| {
            format!("the proxy of {} refused the record {}: {}", refusal.workload, refusal.record, refusal.reason)
        });
        self.problems.iter().map(ToString::to_string).chain(refusals).collect()
    }

    /// What is wrong in the resources' source and among them.
    pub fn policy_problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Records that proxies refused.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.distribution.refusals()
    }

    /// How far a workload's proxy follows.
    pub fn standing(&self, workload: &WorkloadId) -> Standing {
        self.distribution.standing(workload)
    }

    /// The workloads that have a proxy, as far as it follows records; what proxies say of themselves
    /// is added by others.
    pub(crate) fn proxies(&self) -> Vec<proto::ProxyState> {
        let refusals = self.refusals();
        let state = |workload: &Workload| {
            let Standing { streams, unacknowledged, inbound_version, .. } = self.standing(&workload.id);
            let refused = refusals.iter().filter(|refusal| refusal.workload == workload.id);
            proto::ProxyState {
                workload: workload.id.to_string(),
                identity: workload.identity.to_string(),
                record_streams: streams,
                unacknowledged,
                refused: refused.map(|refusal| format!("{}: {}", refusal.record, refusal.reason)).collect(),
                inbound_version,
                ..proto::ProxyState::default()
            }
        };
        self.workloads().filter(|workload| workload.proxy != Proxy::Absent).map(state).collect()
    }

    /// The services that somebody serves or is about to.
    pub(crate) fn running_services(&self) -> Vec<proto::ServiceName> {
        let name = |service: &Service| proto::ServiceName {
            host: weft_compile::host(&self.settings, &service.namespace, &service.name),
            name: service.name.clone(),
            namespace: service.namespace.clone(),
        };
        self.services().filter(|service| !service.endpoints.is_empty()).map(name).collect()
    }

    /// The workloads whose proxies have acknowledged their newest inbound record.
    pub fn current(&self) -> BTreeSet<WorkloadId> {
        self.distribution.current()
    }

    /// Whom to wake since the last call.
    pub(crate) fn woken(&mut self) -> BTreeSet<SubscriberId> {
        mem::take(&mut self.wake)
    }

    /// A new stream of a workload's proxy.
    ///
    /// # Errors
    /// [`RequestError::Streams`].
    pub(crate) fn subscribe(&mut self, workload: WorkloadId) -> Result<SubscriberId, RequestError> {
        self.distribution.subscribe(workload)
    }

    /// A request on a stream.
    ///
    /// # Errors
    /// [`RequestError`]: the stream is to be ended.
    pub(crate) fn request(&mut self, id: SubscriberId, request: DeltaDiscoveryRequest) -> Result<(), RequestError> {
        self.distribution.request(id, request)
    }

    /// What a stream does next.
    pub(crate) fn next(&mut self, id: SubscriberId) -> Next {
        self.distribution.next(id)
    }

    /// A stream has ended.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId) {
        self.distribution.unsubscribe(id);
    }

    fn services_of(&self, id: &WorkloadId) -> Vec<&Service> {
        let names = self.memberships.get(id).into_iter().flatten();
        names.filter_map(|name| self.services.get(name)).collect()
    }

    /// Notes who came to a service or left it, and publishes anew what is said of their ports.
    fn renew_members(&mut self, name: &ServiceName, changed: HashSet<WorkloadId>) {
        let service = self.services.get(name);
        let members: HashSet<&WorkloadId> =
            service.iter().flat_map(|service| &service.endpoints).filter_map(|e| e.workload.as_ref()).collect();
        for id in &changed {
            if members.contains(id) {
                self.memberships.entry(id.clone()).or_default().insert(name.clone());
            } else if let Some(names) = self.memberships.get_mut(id) {
                names.remove(name);
                if names.is_empty() {
                    self.memberships.remove(id);
                }
            }
        }
        for id in changed.iter().filter(|id| self.workloads.contains_key(*id)).collect::<Vec<_>>() {
            self.publish_workload(id);
        }
    }

    /// A workload's own records: as the one who is called, and as a destination.
    fn publish_workload(&mut self, id: &WorkloadId) {
        self.publish_inbound(id);
        let services = self.services_of(id);
        match self.workloads.get(id).map(|workload| weft_compile::workload_destination(workload, &services)) {
            Some(destination) => self.publish(&Record::Destination(destination)),
            None => self.withdraw(Kind::Destination, id.as_str()),
        }
    }

    /// Only a proxy asks for an inbound record: most pods of a cluster may have none.
    fn publish_inbound(&mut self, id: &WorkloadId) {
        let is_meshed = self.workloads.get(id).is_some_and(|workload| workload.proxy != Proxy::Absent);
        match is_meshed.then(|| self.inbound(id)).flatten() {
            Some(inbound) => self.publish(&Record::Inbound(inbound)),
            None => self.withdraw(Kind::Inbound, id.as_str()),
        }
    }

    fn publish_services_of(&mut self, id: &WorkloadId) {
        for name in self.memberships.get(id).cloned().unwrap_or_default() {
            self.publish_service(&name);
        }
    }

    fn publish_service(&mut self, name: &ServiceName) {
        match self.services.get(name) {
            Some(service) => {
                let lookup = |id: &WorkloadId| self.workloads.get(id);
                let destination = weft_compile::destination(&self.settings, service, &lookup);
                self.publish(&Record::Destination(destination));
            }
            None => {
                let host = weft_compile::host(&self.settings, &name.0, &name.1);
                self.withdraw(Kind::Destination, &host);
            }
        }
    }

    fn move_addresses(&mut self, old: Option<Vec<IpAddr>>, new: &[IpAddr]) {
        let old = old.unwrap_or_default();
        if old == new {
            return;
        }
        let before = self.networks.blocks();
        self.networks.add(new);
        self.networks.remove(&old);
        if self.networks.blocks() != before {
            self.publish_trust();
        }
    }

    fn publish_trust(&mut self) {
        if let Some(trust) = &self.trust {
            let trust = Trust { networks: self.networks.blocks(), ..trust.clone() };
            self.publish(&Record::Trust(trust));
        }
    }

    fn publish(&mut self, record: &Record) {
        self.wake.extend(self.distribution.publish(record));
    }

    fn withdraw(&mut self, kind: Kind, name: &str) {
        self.wake.extend(self.distribution.withdraw(kind, name));
    }
}

/// The workloads that came to a service, left it, or of which it says something else now.
fn changed_members(old: Option<&Service>, new: Option<&Service>) -> HashSet<WorkloadId> {
    fn members(service: Option<&Service>) -> HashMap<&WorkloadId, Vec<&ServiceEndpoint>> {
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for endpoint in service.iter().flat_map(|service| &service.endpoints) {
            if let Some(id) = &endpoint.workload {
                members.entry(id).or_default().push(endpoint);
            }
        }
        members
    }
    let same_ports = old.map(|service| &service.ports) == new.map(|service| &service.ports);
    let (old, new) = (members(old), members(new));
    let told = |endpoints: Option<&Vec<&ServiceEndpoint>>| {
        endpoints.map(|endpoints| endpoints.iter().map(|e| e.ports.clone()).collect::<Vec<_>>())
    };
    let changed = |id: &&&WorkloadId| !same_ports || told(old.get(**id)) != told(new.get(**id));
    old.keys().chain(new.keys()).filter(changed).map(|id| (*id).clone()).collect()
}

/// The namespaces whose workloads a change of resources can concern.
enum Concerned {
    Everyone,
    Namespaces(HashSet<String>),
}

impl Concerned {
    /// Resources are compared namespace by namespace, in their order: of two of one name the first counts.
    fn by(old: &[Resource], new: &[Resource], settings: &Settings) -> Self {
        let (old, new) = (by_namespace(old), by_namespace(new));
        let changed = |namespace: &&Option<&str>| old.get(*namespace) != new.get(*namespace);
        let mut namespaces = HashSet::new();
        for namespace in old.keys().chain(new.keys()).filter(changed) {
            match namespace {
                Some(namespace) if *namespace != settings.root_namespace => namespaces.insert((*namespace).to_owned()),
                // The whole mesh's; or nobody can tell whose, and it may be anybody's.
                _ => return Self::Everyone,
            };
        }
        Self::Namespaces(namespaces)
    }

    fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

fn by_namespace(resources: &[Resource]) -> HashMap<Option<&str>, Vec<&Resource>> {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for resource in resources {
        groups.entry(resource.meta().namespace.as_deref()).or_default().push(resource);
    }
    groups
}

#[cfg(test)]
mod tests;
