//! What the mesh keeps of a Service: its addresses and its ports. Pure; who serves it stands in
//! EndpointSlices.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use weft_mesh::record::AppProtocol;

use super::pod::OPAQUE_PORTS;
use super::protocol;
use crate::ports::NamedPorts;

/// A Service, as far as the mesh looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) kind: Kind,
    pub(crate) ports: Vec<Port>,
    /// `config.linkerd.io/opaque-ports`.
    pub(crate) opaque_ports: Option<NamedPorts>,
}

/// How a Service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By addresses of its own, the preferred family first.
    Addresses(Vec<IpAddr>),
    /// By its pods' addresses.
    Headless,
    /// By another name (`ExternalName`): the mesh has nothing to do with it.
    External,
}

/// One TCP port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Empty when it is the only one and has no name; slices name it by this.
    pub(crate) name: String,
    /// What is spoken there, by declaration.
    pub(crate) protocol: AppProtocol,
}

impl Service {
    /// What is to be kept of a Service.
    pub(crate) fn read(service: &api::Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let annotations = service.metadata.annotations.as_ref();
        let ports = spec.ports.iter().flatten().filter_map(port).collect();
        let opaque_ports = annotations.and_then(|all| all.get(OPAQUE_PORTS)).map(|text| NamedPorts::parse(text));
        Self { kind: kind(&spec), ports, opaque_ports }
    }
}

fn kind(spec: &api::ServiceSpec) -> Kind {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Kind::External;
    }
    let one = spec.cluster_ip.iter();
    let all: Vec<&String> = spec.cluster_ips.as_ref().map_or(one.collect(), |all| all.iter().collect());
    let addresses: Vec<IpAddr> = all.iter().filter_map(|text| text.parse().ok()).collect();
    if addresses.is_empty() { Kind::Headless } else { Kind::Addresses(addresses) }
}

fn port(port: &api::ServicePort) -> Option<Port> {
    if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
        return None;
    }
    Some(Port {
        number: u16::try_from(port.port).ok()?,
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol::declared(port.app_protocol.as_deref(), port.name.as_deref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value) -> Service {
        Service::read(&serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap())
    }

    #[test]
    fn addresses_of_both_families_and_tcp_ports_are_kept() {
        let service = read(json!({
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
            "ports": [
                {"port": 80, "name": "http", "targetPort": "web"},
                {"port": 53, "name": "dns", "protocol": "UDP"},
                {"port": 5432, "name": "db", "appProtocol": "tcp"},
            ],
        }));
        let addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(service.kind, Kind::Addresses(addresses));
        let port = |number, name: &str, protocol| Port { number, name: name.to_owned(), protocol };
        assert_eq!(service.ports, [port(80, "http", AppProtocol::Http), port(5432, "db", AppProtocol::Tcp)]);
    }

    #[test]
    fn headless_external_and_unallocated_are_told_apart() {
        assert_eq!(read(json!({"clusterIP": "None", "clusterIPs": ["None"]})).kind, Kind::Headless);
        assert_eq!(read(json!({"type": "ExternalName", "externalName": "a.example"})).kind, Kind::External);
        assert_eq!(read(json!({"clusterIP": ""})).kind, Kind::Headless);
        assert_eq!(read(json!({"clusterIP": "10.0.0.9"})).kind, Kind::Addresses(vec!["10.0.0.9".parse().unwrap()]));
    }
}
