//! The records that are a workload's own: what its proxy lets in, and how others call it by address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_mesh::record::{AppProtocol, Destination, Endpoint, Inbound, PortProtocol, ServicePort, Undeclared};

use crate::service::Service;
use crate::set::PolicySet;
use crate::workload::Workload;

/// The inbound record of a workload. `services` are those of which it is an endpoint: where it doesn't
/// say itself what is spoken on a port, they do.
pub fn inbound(policies: &PolicySet, workload: &Workload, services: &[&Service]) -> Inbound {
    let (peer_authentication, selected) = policies.for_workload(workload.id.namespace(), &workload.labels);
    let default =
        workload.default_inbound.and_then(|default| policies.default_inbound(default, workload.id.namespace()));
    Inbound {
        workload: workload.id.clone(),
        identity: workload.identity.clone(),
        service: workload.service.clone(),
        addresses: workload.addresses.clone(),
        ports: ports(workload, services),
        peer_authentication,
        policies: default.into_iter().chain(selected).collect(),
    }
}

/// The record of a workload that is called by its own addresses, whatever port is called. `services`
/// are those of which it is an endpoint. One whose proxy is yet to listen has no endpoint.
pub fn workload_destination(workload: &Workload, services: &[&Service]) -> Destination {
    let endpoint = |address: &IpAddr| {
        let tunnel = workload.tunnel(*address)?;
        Some(Endpoint { workload: Some(workload.id.clone()), address: *address, tunnel, weight: 1, ports: Vec::new() })
    };
    let port = |port: PortProtocol| ServicePort { port: port.port, target: port.port, protocol: port.protocol };
    Destination {
        host: workload.id.to_string(),
        service: workload.service.clone(),
        namespace: workload.id.namespace().to_owned(),
        addresses: workload.addresses.clone(),
        ports: ports(workload, services).into_iter().map(port).collect(),
        undeclared: Undeclared::Forward,
        endpoints: workload.addresses.iter().filter_map(endpoint).collect(),
    }
}

/// A workload's ports, ascending, each once. Where services disagree about a protocol, the first bytes
/// tell.
fn ports(workload: &Workload, services: &[&Service]) -> Vec<PortProtocol> {
    let mut ports: BTreeMap<u16, PortProtocol> = BTreeMap::new();
    for (number, protocol) in services.iter().flat_map(|service| service.spoken_at(&workload.id)) {
        let port = ports.entry(number).or_insert(PortProtocol { port: number, name: None, protocol });
        if port.protocol != protocol {
            port.protocol = AppProtocol::Detect;
        }
    }
    for declared in workload.ports.iter().rev() {
        let told = ports.get(&declared.port).map(|port| port.protocol).unwrap_or_default();
        let protocol = if declared.protocol == AppProtocol::Detect { told } else { declared.protocol };
        ports.insert(declared.port, PortProtocol { protocol, ..declared.clone() });
    }
    ports.into_values().collect()
}
