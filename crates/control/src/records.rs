//! Registrations as the compiler takes them: a workload each, and a service for those of one name.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use weft_compile::{EndpointPortPair, EndpointState, Proxy, Service, ServiceEndpoint, Workload};
use weft_mesh::record::{AppProtocol, PortProtocol, Undeclared};

use crate::registry::{Readiness, Registration};

/// The mesh protocol's port at each proxy's host address.
const MESH_PORT: u16 = 15008;

/// The workload that is registered. Its proxy listens from when it is ready.
pub(crate) fn workload(registration: &Registration) -> Workload {
    let proxy = match registration.readiness {
        Readiness::Starting => Proxy::Starting,
        Readiness::Ready => Proxy::At(SocketAddr::from((registration.host, MESH_PORT))),
    };
    Workload {
        id: registration.id.clone(),
        identity: registration.identity.clone(),
        service: registration.spec.name.clone(),
        labels: registration.spec.labels.clone(),
        addresses: registration.addresses.to_vec(),
        proxy,
        ports: registration.spec.ports.clone(),
        default_inbound: None,
        owner: None,
        node: None,
    }
}

/// A service of one machine: every replica takes calls to each port that any of them declares, and to
/// any other.
pub(crate) fn service(
    (namespace, name): &(String, String),
    addresses: &[IpAddr],
    replicas: &[&Registration],
) -> Service {
    let ports = ports(replicas);
    let pairs: Arc<[EndpointPortPair]> =
        ports.iter().map(|port| EndpointPortPair { port: port.port, target: port.port }).collect();
    let endpoint = |replica: &&Registration| ServiceEndpoint {
        address: replica.addresses.v4.into(),
        workload: Some(replica.id.clone()),
        ports: Arc::clone(&pairs),
        state: EndpointState::Ready,
    };
    Service {
        namespace: namespace.clone(),
        name: name.clone(),
        addresses: addresses.to_vec(),
        endpoints: replicas.iter().map(endpoint).collect(),
        ports,
        undeclared: Undeclared::Forward,
    }
}

/// The declared ports of all replicas, ascending. Where they disagree about a protocol, the first
/// bytes tell.
fn ports(replicas: &[&Registration]) -> Vec<PortProtocol> {
    let mut protocols: BTreeMap<u16, AppProtocol> = BTreeMap::new();
    for declared in replicas.iter().flat_map(|replica| &replica.spec.ports) {
        let agreed = protocols.entry(declared.port).or_insert(declared.protocol);
        if *agreed != declared.protocol {
            *agreed = AppProtocol::Detect;
        }
    }
    protocols.into_iter().map(|(port, protocol)| PortProtocol { port, name: None, protocol }).collect()
}
