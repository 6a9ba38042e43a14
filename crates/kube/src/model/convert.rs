//! The compiler's inputs, made of what is known of the cluster. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use weft_compile::{DefaultInbound, EndpointPortPair, EndpointState, Proxy, Service, ServiceEndpoint, Workload};
use weft_mesh::record::{AppProtocol, PortProtocol, Undeclared};
use weft_mesh::{SpiffeId, WorkloadId};
use weft_resources::{Problem, Resource};

use super::pod::{self, Place, Pod, Word};
use super::slice::{Endpoint, Slice};
use super::{Cluster, Name, endpoints, service};
use crate::names::MESH_PORT;
use crate::ports::NamedPorts;

impl Cluster {
    /// A pod as a workload of the mesh; `None` when it has no address of its own: it isn't there, has
    /// ended or yet to start, or shares its node's.
    pub(crate) fn workload(&self, id: &WorkloadId) -> Option<Workload> {
        let pod = self.pods.get(id)?;
        let addresses: Vec<IpAddr> = self.addresses(id, pod).collect();
        if addresses.is_empty() {
            return None;
        }
        Some(Workload {
            id: id.clone(),
            identity: self.identity(id, pod)?,
            service: pod.service.clone(),
            labels: pod.labels.clone(),
            addresses,
            proxy: match pod.proxy {
                pod::Proxy::Absent => Proxy::Absent,
                pod::Proxy::Starting => Proxy::Starting,
                pod::Proxy::Begun => Proxy::Port(MESH_PORT),
            },
            ports: self.ports(id, pod),
            default_inbound: self.default_inbound(id, pod),
            owner: pod.owner.clone(),
            node: pod.node.clone(),
        })
    }

    /// A Service with those who serve it; `None` when it isn't there, or the mesh has nothing to do
    /// with it.
    pub(crate) fn service(&self, name: &Name) -> Option<Service> {
        let service = self.services.get(name)?;
        let (addresses, undeclared) = match &service.kind {
            service::Kind::Addresses(addresses) => (addresses.clone(), Undeclared::Refuse),
            service::Kind::Headless => (Vec::new(), Undeclared::Forward),
            service::Kind::External => return None,
        };
        let opaque = service.opaque_ports.as_ref().or_else(|| self.inherited_opaque(&name.namespace));
        let port = |port: &service::Port| PortProtocol {
            port: port.number,
            name: Some(port.name.clone()).filter(|name| !name.is_empty()),
            protocol: match opaque.is_some_and(|opaque| opaque.has(port.number, Some(&port.name))) {
                true => AppProtocol::Tcp,
                false => port.protocol,
            },
        };
        let slices = self.endpoints.of_service(name);
        Some(Service {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            addresses,
            ports: service.ports.iter().map(port).collect(),
            undeclared,
            endpoints: slices.flat_map(|slice| self.endpoints_of(&name.namespace, service, slice)).collect(),
        })
    }

    /// The address at which a Service is called first.
    pub(crate) fn service_address(&self, name: &Name) -> Option<IpAddr> {
        match &self.services.get(name)?.kind {
            service::Kind::Addresses(addresses) => addresses.first().copied(),
            service::Kind::Headless | service::Kind::External => None,
        }
    }

    /// The identity of a pod's service account.
    pub(crate) fn identity(&self, id: &WorkloadId, pod: &Pod) -> Option<SpiffeId> {
        SpiffeId::new(&self.defaults.trust_domain, id.namespace(), &pod.service_account).ok()
    }

    /// The policies, in the order of their kinds and names; and what is wrong with each by itself.
    pub(crate) fn resources(&self) -> (Vec<Resource>, Vec<Problem>) {
        let parsed = || self.policies.values().map(|policy| &policy.parsed);
        let resources = parsed().flat_map(|parsed| parsed.resources.clone()).collect();
        (resources, parsed().flat_map(|parsed| parsed.problems.clone()).collect())
    }

    fn endpoints_of(&self, namespace: &str, service: &service::Service, slice: &Slice) -> Vec<ServiceEndpoint> {
        let target = |port: &service::Port| {
            let (_, target) = slice.ports.iter().find(|(name, _)| *name == port.name)?;
            Some(EndpointPortPair { port: port.number, target: *target })
        };
        let ports: Arc<[EndpointPortPair]> = service.ports.iter().filter_map(target).collect();
        let endpoint = |endpoint: &Endpoint| {
            let (workload, state) = self.who(namespace, endpoint)?;
            Some(ServiceEndpoint { address: endpoint.address, workload, ports: Arc::clone(&ports), state })
        };
        slice.endpoints.iter().filter_map(endpoint).collect()
    }

    /// Who an endpoint is. One that is said to be a pod, and isn't yet or any more, is left out: it might
    /// be called plainly although it has a proxy.
    fn who(&self, namespace: &str, endpoint: &Endpoint) -> Option<(Option<WorkloadId>, EndpointState)> {
        let holder = self.holders.of(endpoint.address);
        let Some(id) = endpoints::pod(namespace, endpoint) else {
            return Some((holder.cloned(), endpoint.state));
        };
        let pod = self.pods.get(&id)?;
        let state = match (endpoint.state, pod.word) {
            (EndpointState::Unready, Word::Ready) => EndpointState::Lost,
            (state, _) => state,
        };
        match &pod.place {
            Place::Host => Some((None, state)),
            Place::Own(_) if holder == Some(&id) => Some((Some(id), state)),
            Place::Own(_) | Place::Gone => None,
        }
    }

    /// The declared ports, and those that are only known to be opaque.
    fn ports(&self, id: &WorkloadId, pod: &Pod) -> Vec<PortProtocol> {
        let opaque = pod.opaque_ports.as_ref().or_else(|| self.inherited_opaque(id.namespace()));
        let port = |number: u16, name: Option<&String>| PortProtocol {
            port: number,
            name: name.cloned(),
            protocol: match opaque.is_some_and(|opaque| opaque.has(number, name.map(String::as_str))) {
                true => AppProtocol::Tcp,
                false => AppProtocol::Detect,
            },
        };
        let declared = pod.ports.iter().map(|declared| port(declared.number, declared.name.as_ref()));
        let is_declared = |number: &u16| pod.ports.iter().any(|declared| declared.number == *number);
        let others = opaque.into_iter().flat_map(NamedPorts::numbers).filter(|number| !is_declared(number));
        declared.chain(others.map(|number| port(number, None))).collect()
    }

    /// What can't be understood may have been meant to close something.
    fn default_inbound(&self, id: &WorkloadId, pod: &Pod) -> Option<DefaultInbound> {
        let inherited = || self.namespaces.get(id.namespace())?.default_inbound.as_ref();
        match pod.default_inbound.as_ref().or_else(inherited) {
            Some(text) => Some(text.parse().unwrap_or(DefaultInbound::Deny)),
            None => self.defaults.inbound,
        }
    }

    fn inherited_opaque(&self, namespace: &str) -> Option<&NamedPorts> {
        self.namespaces.get(namespace)?.opaque_ports.as_ref()
    }
}
