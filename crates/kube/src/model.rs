//! The cluster as the mesh sees it: what watches tell goes in, and which inputs of the compiler have
//! changed comes out, so that a change costs only those whom it concerns.
//!
//! Pure. Only extracts are kept, never whole objects; what a mesh does with them is not known here.

mod convert;
mod endpoints;
pub(crate) mod namespace;
mod owned;
pub(crate) mod pod;
pub(crate) mod policy;
mod protocol;
pub(crate) mod service;
pub(crate) mod slice;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::mem;
use std::net::IpAddr;

use weft_compile::DefaultInbound;
use weft_mesh::{TrustDomain, WorkloadId};

pub(crate) use self::protocol::declared;

use self::endpoints::Endpoints;
use self::namespace::Namespace;
use self::owned::Holders;
use self::pod::Pod;
use self::policy::{Policy, PolicyKind};
use self::service::Service;
use self::slice::Slice;
use crate::inject::{Candidate, NamespaceMarks, Unmeshed};

/// Name and namespace of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a watch tells. `None` is an object that is no more.
#[derive(Debug)]
pub(crate) enum Event {
    Namespace(Name, Option<Namespace>),
    Pod(Name, Option<Box<Pod>>),
    Service(Name, Option<Service>),
    Slice(Name, Option<Slice>),
    Policy(PolicyKind, Name, Option<Policy>),
    /// All of a kind was told: what isn't among these is no more.
    Listed(Kind, HashSet<Name>),
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Namespace,
    Pod,
    Service,
    Slice,
    Policy(PolicyKind),
}

impl Kind {
    /// Everything that must have been listed once before the mesh is whole.
    pub(crate) const ALL: [Self; 6] = [
        Self::Namespace,
        Self::Pod,
        Self::Service,
        Self::Slice,
        Self::Policy(PolicyKind::PeerAuthentication),
        Self::Policy(PolicyKind::AuthorizationPolicy),
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespaces",
            Self::Pod => "Pods",
            Self::Service => "Services",
            Self::Slice => "EndpointSlices",
            Self::Policy(PolicyKind::PeerAuthentication) => "PeerAuthentications",
            Self::Policy(PolicyKind::AuthorizationPolicy) => "AuthorizationPolicies",
        })
    }
}

/// Which inputs of the compiler are others than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Pods that have gone; another of that name may be there by now, and is no successor.
    pub(crate) ended: BTreeSet<WorkloadId>,
    pub(crate) workloads: BTreeSet<WorkloadId>,
    pub(crate) services: BTreeSet<Name>,
    pub(crate) policies: bool,
}

/// What holds for every workload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) trust_domain: TrustDomain,
    /// Where neither pod nor namespace says.
    pub(crate) inbound: Option<DefaultInbound>,
}

/// The state of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    defaults: Defaults,
    namespaces: BTreeMap<String, Namespace>,
    pods: HashMap<WorkloadId, Pod>,
    holders: Holders,
    services: HashMap<Name, Service>,
    endpoints: Endpoints,
    policies: BTreeMap<(PolicyKind, Name), Policy>,
    listed: BTreeSet<Kind>,
    changes: Changes,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub(crate) fn new(defaults: Defaults) -> Self {
        Self { defaults, ..Self::default() }
    }

    /// Takes in what a watch tells.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Namespace(name, namespace) => self.put_namespace(name.name, namespace),
            Event::Pod(name, pod) => {
                // A name that is no workload's can't come from an API server.
                if let Ok(id) = WorkloadId::new(&name.namespace, &name.name) {
                    self.put_pod(&id, pod.map(|pod| *pod));
                }
            }
            Event::Service(name, service) => self.put_service(name, service),
            Event::Slice(name, slice) => self.put_slice(&name, slice),
            Event::Policy(kind, name, policy) => self.put_policy((kind, name), policy),
            Event::Listed(kind, present) => {
                self.listed.insert(kind);
                for name in self.gone(kind, &present) {
                    self.apply(kind.deletion(name));
                }
            }
        }
    }

    /// What has changed since the last call.
    pub(crate) fn changes(&mut self) -> Changes {
        mem::take(&mut self.changes)
    }

    /// What hasn't been listed yet.
    pub(crate) fn unlisted(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.listed.contains(kind)).collect()
    }

    /// A pod, as the watch has it.
    pub(crate) fn pod(&self, id: &WorkloadId) -> Option<&Pod> {
        self.pods.get(id)
    }

    /// The addresses that are a pod's and no newer one's.
    pub(crate) fn addresses<'a>(&'a self, id: &'a WorkloadId, pod: &'a Pod) -> impl Iterator<Item = IpAddr> + 'a {
        pod.addresses().iter().copied().filter(|address| self.holders.of(*address) == Some(id))
    }

    /// The policies, by kind and name.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&(PolicyKind, Name), &Policy)> {
        self.policies.iter()
    }

    /// Every pod.
    pub(crate) fn pod_ids(&self) -> impl Iterator<Item = &WorkloadId> {
        self.pods.keys()
    }

    /// Every Service.
    pub(crate) fn service_names(&self) -> impl Iterator<Item = &Name> {
        self.services.keys()
    }

    /// The pods that should have a proxy and run without one.
    pub(crate) fn unmeshed(&self, control_namespace: &str) -> BTreeSet<Unmeshed> {
        let of = |name: &str| {
            let marks = self.namespaces.get(name).map(|namespace| namespace.marks.clone()).unwrap_or_default();
            NamespaceMarks { name: name.to_owned(), marks }
        };
        let lacks = |(id, pod): &(&WorkloadId, &Pod)| {
            let lacks = |it: &Candidate| it.lacks_proxy(&of(id.namespace()), control_namespace);
            pod.candidate.as_ref().is_some_and(lacks)
        };
        let unmeshed = |(id, pod): (&WorkloadId, &Pod)| Unmeshed {
            namespace: id.namespace().to_owned(),
            name: id.name().to_owned(),
            uid: pod.uid.clone(),
        };
        self.pods.iter().filter(lacks).map(unmeshed).collect()
    }

    fn put_namespace(&mut self, name: String, namespace: Option<Namespace>) {
        let said = |namespace: Option<&Namespace>| namespace.cloned().unwrap_or_default();
        if said(self.namespaces.get(&name)) != said(namespace.as_ref()) {
            let pods = self.pods.keys().filter(|id| id.namespace() == name).cloned();
            self.changes.workloads.extend(pods);
            let services = self.services.keys().filter(|service| service.namespace == name).cloned();
            self.changes.services.extend(services);
        }
        match namespace {
            Some(namespace) => self.namespaces.insert(name, namespace),
            None => self.namespaces.remove(&name),
        };
    }

    fn put_pod(&mut self, id: &WorkloadId, pod: Option<Pod>) {
        let old = self.pods.get(id);
        if old == pod.as_ref() {
            return;
        }
        if old.is_some_and(|old| pod.as_ref().is_none_or(|pod| pod.uid != old.uid)) {
            self.changes.ended.insert(id.clone());
        }
        let place = |pod: Option<&Pod>| pod.map(|pod| (pod.place.clone(), pod.created));
        let (before, after) = (place(old), place(pod.as_ref()));
        let word = |pod: Option<&Pod>| pod.map(|pod| pod.word);
        if before != after || word(old) != word(pod.as_ref()) {
            self.changes.services.extend(self.endpoints.services_of(id));
        }
        self.changes.workloads.insert(id.clone());
        let affected = self.holders.replace(id, before, after);
        for address in affected.addresses {
            self.changes.services.extend(self.endpoints.services_at(address));
        }
        for pod in &affected.pods {
            self.changes.services.extend(self.endpoints.services_of(pod));
        }
        self.changes.workloads.extend(affected.pods);
        match pod {
            Some(pod) => self.pods.insert(id.clone(), pod),
            None => self.pods.remove(id),
        };
    }

    fn put_service(&mut self, name: Name, service: Option<Service>) {
        if self.services.get(&name) == service.as_ref() {
            return;
        }
        match service {
            Some(service) => self.services.insert(name.clone(), service),
            None => self.services.remove(&name),
        };
        self.changes.services.insert(name);
    }

    fn put_slice(&mut self, name: &Name, slice: Option<Slice>) {
        let services = self.endpoints.replace(name, slice);
        self.changes.services.extend(services);
    }

    fn put_policy(&mut self, key: (PolicyKind, Name), policy: Option<Policy>) {
        let old = self.policies.get(&key);
        // What only the controller itself writes (the status) changes nothing that is in force.
        let before = old.map(|policy| &policy.parsed);
        self.changes.policies |= before != policy.as_ref().map(|policy| &policy.parsed);
        match policy {
            Some(policy) => self.policies.insert(key, policy),
            None => self.policies.remove(&key),
        };
    }

    /// What is known of a kind and isn't present any more.
    fn gone(&self, kind: Kind, present: &HashSet<Name>) -> Vec<Name> {
        let known: Vec<Name> = match kind {
            Kind::Namespace => self.namespaces.keys().map(|name| Name::new("", name)).collect(),
            Kind::Pod => self.pods.keys().map(|id| Name::new(id.namespace(), id.name())).collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::Slice => self.endpoints.slices().cloned().collect(),
            Kind::Policy(kind) => {
                self.policies.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.clone()).collect()
            }
        };
        known.into_iter().filter(|name| !present.contains(name)).collect()
    }
}

impl Kind {
    fn deletion(self, name: Name) -> Event {
        match self {
            Self::Namespace => Event::Namespace(name, None),
            Self::Pod => Event::Pod(name, None),
            Self::Service => Event::Service(name, None),
            Self::Slice => Event::Slice(name, None),
            Self::Policy(kind) => Event::Policy(kind, name, None),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
