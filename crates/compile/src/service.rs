//! A service as a registry knows it, and its record.

use std::net::IpAddr;
use std::sync::Arc;

use weft_mesh::WorkloadId;
use weft_mesh::record::{
    AppProtocol, Destination, Endpoint, EndpointPort, PortProtocol, ServicePort, Tunnel, Undeclared,
};

use crate::settings::Settings;
use crate::workload::Workload;

/// A service: one of one machine, made of its registrations; or one of Kubernetes, with its
/// EndpointSlices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its virtual addresses; none when it is headless.
    pub addresses: Vec<IpAddr>,
    /// The declared ports.
    pub ports: Vec<PortProtocol>,
    /// What becomes of a call to a port that isn't declared.
    pub undeclared: Undeclared,
    /// Who serves it. One of two address families stands there twice.
    pub endpoints: Vec<ServiceEndpoint>,
}

/// One who serves a service, at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// Its own address.
    pub address: IpAddr,
    /// The workload that it is; `None` when it is none, such as an API server or a host outside.
    pub workload: Option<WorkloadId>,
    /// Its own port for each port of the service; those that are missing it doesn't serve. Endpoints
    /// of one slice share them.
    pub ports: Arc<[EndpointPortPair]>,
    /// Whether it takes calls.
    pub state: EndpointState,
}

/// A service's port and the endpoint's own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointPortPair {
    /// The port that callers name.
    pub port: u16,
    /// The endpoint's own.
    pub target: u16,
}

/// Whether an endpoint takes calls. Of a service's endpoints those in the first state that any of
/// them is in are called; unready ones never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It ends, and still serves (Kubernetes: `serving` and `terminating`).
    Draining,
    /// It was ready when last heard of, and its node has gone silent: it is unready by the word of the
    /// node controller and not by its own (the pod's `Ready` is false while `ContainersReady` and
    /// every readiness gate are true). When a lapse of the API server makes all nodes silent at once,
    /// these go on being called.
    Lost,
    /// It doesn't, by its own word.
    Unready,
}

/// The record of a service. `lookup` knows the workloads; an endpoint whose workload it doesn't know
/// isn't called, since nobody could say how.
pub fn destination<'w>(
    settings: &Settings,
    service: &Service,
    lookup: &dyn Fn(&WorkloadId) -> Option<&'w Workload>,
) -> Destination {
    let callable = |endpoint: &&ServiceEndpoint| endpoint.state != EndpointState::Unready;
    let reached: Vec<(&ServiceEndpoint, Tunnel)> = service
        .endpoints
        .iter()
        .filter(callable)
        .filter_map(|endpoint| Some((endpoint, tunnel(endpoint, lookup)?)))
        .collect();
    let best = reached.iter().map(|(endpoint, _)| endpoint.state).min();
    let mut called: Vec<_> = reached.into_iter().filter(|(endpoint, _)| Some(endpoint.state) == best).collect();
    called.sort_by(|(a, _), (b, _)| (&a.workload, a.address).cmp(&(&b.workload, b.address)));
    let ports = service_ports(service, &called);
    let endpoints = called.into_iter().map(|(endpoint, tunnel)| record(endpoint, tunnel, &ports)).collect();
    Destination {
        host: host(settings, &service.namespace, &service.name),
        service: service.name.clone(),
        namespace: service.namespace.clone(),
        addresses: service.addresses.clone(),
        ports,
        undeclared: service.undeclared,
        endpoints,
    }
}

/// The full name of a service, which is its record's name too.
pub fn host(settings: &Settings, namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc.{}", settings.dns_suffix)
}

impl Service {
    /// What it says is spoken on the ports of a workload that is an endpoint of it; of ports of
    /// undeclared protocol it says nothing.
    pub(crate) fn spoken_at(&self, workload: &WorkloadId) -> impl Iterator<Item = (u16, AppProtocol)> {
        let says = |port: &&PortProtocol| port.protocol != AppProtocol::Detect;
        let endpoints = if self.ports.iter().any(|port| says(&port)) { &*self.endpoints } else { &[] };
        let own = endpoints.iter().filter(|endpoint| endpoint.workload.as_ref() == Some(workload));
        own.flat_map(|endpoint| &*endpoint.ports).filter_map(move |pair| {
            let declared = self.ports.iter().filter(says).find(|declared| declared.port == pair.port)?;
            Some((pair.target, declared.protocol))
        })
    }
}

fn tunnel<'w>(endpoint: &ServiceEndpoint, lookup: &dyn Fn(&WorkloadId) -> Option<&'w Workload>) -> Option<Tunnel> {
    match &endpoint.workload {
        Some(workload) => lookup(workload)?.tunnel(endpoint.address),
        None => Some(Tunnel::Plain),
    }
}

/// The declared ports, ascending, each once. A port's target is that of the first endpoint that serves it.
fn service_ports(service: &Service, called: &[(&ServiceEndpoint, Tunnel)]) -> Vec<ServicePort> {
    let target = |port: u16| called.iter().find_map(|(endpoint, _)| endpoint.target(port)).unwrap_or(port);
    let port = |declared: &PortProtocol| ServicePort {
        port: declared.port,
        target: target(declared.port),
        protocol: declared.protocol,
    };
    let mut ports: Vec<ServicePort> = service.ports.iter().map(port).collect();
    ports.sort_by_key(|port| port.port);
    ports.dedup_by_key(|port| port.port);
    ports
}

fn record(endpoint: &ServiceEndpoint, tunnel: Tunnel, ports: &[ServicePort]) -> Endpoint {
    let differs = |port: &ServicePort| {
        let target = endpoint.target(port.port);
        (target != Some(port.target)).then_some(EndpointPort { port: port.port, target })
    };
    Endpoint {
        workload: endpoint.workload.clone(),
        address: endpoint.address,
        tunnel,
        weight: 1,
        ports: ports.iter().filter_map(differs).collect(),
    }
}

impl ServiceEndpoint {
    fn target(&self, port: u16) -> Option<u16> {
        self.ports.iter().find(|pair| pair.port == port).map(|pair| pair.target)
    }
}

#[cfg(test)]
mod tests;
