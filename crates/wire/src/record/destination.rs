//! The codec of destinations.

use std::net::{IpAddr, SocketAddr};

use weft_mesh::record::{AppProtocol, Destination, Endpoint, EndpointPort, Peer, ServicePort, Tunnel, Undeclared};

use super::RecordError;
use super::field::{Read, address, addresses, ascending, bytes, choice, list, name, port, text};
use crate::proto::weft::v1 as proto;

impl From<&Destination> for proto::Destination {
    fn from(destination: &Destination) -> Self {
        Self {
            host: destination.host.clone(),
            service: destination.service.clone(),
            namespace: destination.namespace.clone(),
            addresses: destination.addresses.iter().copied().map(bytes).collect(),
            ports: destination.ports.iter().map(write_port).collect(),
            forward_undeclared: destination.undeclared == Undeclared::Forward,
            endpoints: destination.endpoints.iter().map(write_endpoint).collect(),
        }
    }
}

impl TryFrom<proto::Destination> for Destination {
    type Error = RecordError;

    fn try_from(message: proto::Destination) -> Result<Self, RecordError> {
        let ports = list("ports", message.ports, read_port)?;
        ascending("ports", &ports, |p| p.port)?;
        Ok(Self {
            host: text("host", message.host)?,
            service: text("service", message.service)?,
            namespace: text("namespace", message.namespace)?,
            addresses: addresses("addresses", message.addresses)?,
            ports,
            undeclared: if message.forward_undeclared { Undeclared::Forward } else { Undeclared::Refuse },
            endpoints: list("endpoints", message.endpoints, read_endpoint)?,
        })
    }
}

fn write_port(port: &ServicePort) -> proto::Port {
    proto::Port {
        port: port.port.into(),
        name: String::new(),
        protocol: write_protocol(port.protocol).into(),
        target: port.target.into(),
    }
}

fn read_port(message: proto::Port) -> Read<ServicePort> {
    Ok(ServicePort {
        port: port("port", message.port)?,
        target: port("target", message.target)?,
        protocol: read_protocol("protocol", message.protocol)?,
    })
}

fn write_endpoint(endpoint: &Endpoint) -> proto::Endpoint {
    let tunnel = match endpoint.tunnel {
        Tunnel::Mesh(_) => proto::TunnelKind::Mesh,
        Tunnel::Hbone(_) => proto::TunnelKind::Hbone,
        Tunnel::Plain => proto::TunnelKind::Plain,
    };
    let peer = endpoint.tunnel.peer();
    proto::Endpoint {
        workload: endpoint.workload.as_ref().map(ToString::to_string).unwrap_or_default(),
        address: bytes(endpoint.address),
        identity: peer.map(|peer| peer.identity.to_string()).unwrap_or_default(),
        tunnel: tunnel.into(),
        tunnel_address: peer.map(|peer| bytes(peer.address.ip())).unwrap_or_default(),
        tunnel_port: peer.map(|peer| peer.address.port().into()).unwrap_or_default(),
        weight: endpoint.weight,
        ports: endpoint.ports.iter().map(write_endpoint_port).collect(),
    }
}

fn read_endpoint(message: proto::Endpoint) -> Read<Endpoint> {
    if message.weight == 0 {
        return Err(RecordError::field("weight", "a weight of at least 1", 0));
    }
    let tunnel = read_tunnel(&message)?;
    let workload = Some(message.workload).filter(|workload| !workload.is_empty());
    let ports = list("ports", message.ports, read_endpoint_port)?;
    ascending("ports", &ports, |p| p.port)?;
    Ok(Endpoint {
        workload: workload.map(|workload| name("workload", "NAMESPACE/NAME", &workload)).transpose()?,
        address: address("address", &message.address)?,
        tunnel,
        weight: message.weight,
        ports,
    })
}

fn write_endpoint_port(own: &EndpointPort) -> proto::EndpointPort {
    proto::EndpointPort { port: own.port.into(), target: own.target.unwrap_or(0).into() }
}

fn read_endpoint_port(message: proto::EndpointPort) -> Read<EndpointPort> {
    let target = (message.target != 0).then(|| port("target", message.target)).transpose()?;
    Ok(EndpointPort { port: port("port", message.port)?, target })
}

fn read_tunnel(message: &proto::Endpoint) -> Read<Tunnel> {
    let peer = || -> Read<Peer> {
        let ip: IpAddr = address("tunnel_address", &message.tunnel_address)?;
        Ok(Peer {
            address: SocketAddr::new(ip, port("tunnel_port", message.tunnel_port)?),
            identity: name("identity", "a SPIFFE ID", &message.identity)?,
        })
    };
    let kind = choice("tunnel", message.tunnel, |kind| match kind {
        proto::TunnelKind::TunnelUnspecified => None,
        known => Some(known),
    })?;
    match kind {
        proto::TunnelKind::Mesh => Ok(Tunnel::Mesh(peer()?)),
        proto::TunnelKind::Hbone => Ok(Tunnel::Hbone(peer()?)),
        _ if !message.tunnel_address.is_empty() || message.tunnel_port != 0 => {
            Err(RecordError::field("tunnel_address", "no address beside PLAIN", "one"))
        }
        // Whoever names an identity means it to be verified, which nobody could.
        _ if !message.identity.is_empty() => {
            Err(RecordError::field("identity", "no identity beside PLAIN", format!("{:?}", message.identity)))
        }
        _ => Ok(Tunnel::Plain),
    }
}

/// The protocol as the messages number it.
pub(super) fn write_protocol(protocol: AppProtocol) -> proto::AppProtocol {
    match protocol {
        AppProtocol::Detect => proto::AppProtocol::Detect,
        AppProtocol::Http => proto::AppProtocol::Http,
        AppProtocol::Http2 => proto::AppProtocol::Http2,
        AppProtocol::Grpc => proto::AppProtocol::Grpc,
        AppProtocol::Tcp => proto::AppProtocol::Tcp,
    }
}

/// The protocol that a message's number means.
pub(super) fn read_protocol(field: &str, value: i32) -> Read<AppProtocol> {
    choice(field, value, |protocol| {
        Some(match protocol {
            proto::AppProtocol::Detect => AppProtocol::Detect,
            proto::AppProtocol::Http => AppProtocol::Http,
            proto::AppProtocol::Http2 => AppProtocol::Http2,
            proto::AppProtocol::Grpc => AppProtocol::Grpc,
            proto::AppProtocol::Tcp => AppProtocol::Tcp,
        })
    })
}
