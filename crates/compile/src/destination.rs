//! Services as their callers see them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_mesh::record::{AppProtocol, Destination, Endpoint, ServicePort, Tunnel, Undeclared};

use crate::settings::Settings;
use crate::workload::Workload;

/// The stable virtual addresses of each service, by namespace and name.
pub type ServiceAddresses = BTreeMap<(String, String), Vec<IpAddr>>;

/// The destinations of one machine's mesh, in the order of namespace and name: a service for each
/// (namespace, service) of `workloads` or `addresses`. Undeclared ports are forwarded. Endpoints are
/// the ready workloads whose proxies listen; a service may have none.
pub fn destinations(settings: &Settings, workloads: &[Workload], addresses: &ServiceAddresses) -> Vec<Destination> {
    let mut services: BTreeMap<(&str, &str), Vec<&Workload>> = BTreeMap::new();
    for (namespace, service) in addresses.keys() {
        services.entry((namespace, service)).or_default();
    }
    for workload in workloads {
        services.entry((&workload.namespace, &workload.service)).or_default().push(workload);
    }
    services.into_iter().map(|(name, workloads)| destination(settings, name, workloads, addresses)).collect()
}

fn destination(
    settings: &Settings,
    (namespace, service): (&str, &str),
    mut workloads: Vec<&Workload>,
    addresses: &ServiceAddresses,
) -> Destination {
    workloads.sort_by_key(|workload| &workload.id);
    let key = (namespace.to_owned(), service.to_owned());
    Destination {
        host: format!("{service}.{namespace}.svc.{}", settings.dns_suffix),
        service: service.to_owned(),
        namespace: namespace.to_owned(),
        addresses: addresses.get(&key).cloned().unwrap_or_default(),
        ports: ports(&workloads),
        undeclared: Undeclared::Forward,
        endpoints: workloads.iter().filter_map(|workload| endpoint(workload)).collect(),
    }
}

fn endpoint(workload: &Workload) -> Option<Endpoint> {
    let mesh_address = workload.mesh_address.filter(|_| workload.ready)?;
    Some(Endpoint {
        workload: workload.id.clone(),
        address: *workload.addresses.first()?,
        identity: workload.identity.clone(),
        tunnel: Tunnel::Mesh(mesh_address),
        weight: 1,
    })
}

/// The declared ports of all workloads, ascending. Where they disagree about a protocol, the first
/// bytes tell.
fn ports(workloads: &[&Workload]) -> Vec<ServicePort> {
    let mut protocols: BTreeMap<u16, AppProtocol> = BTreeMap::new();
    for declared in workloads.iter().flat_map(|workload| &workload.ports) {
        let agreed = protocols.entry(declared.port).or_insert(declared.protocol);
        if *agreed != declared.protocol {
            *agreed = AppProtocol::Detect;
        }
    }
    protocols.into_iter().map(|(port, protocol)| ServicePort { port, target: port, protocol }).collect()
}

#[cfg(test)]
mod tests;
