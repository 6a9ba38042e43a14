//! The inbound record and the destinations of a records file.

use std::net::IpAddr;

use weft_mesh::record::{
    Destination, Endpoint, Inbound, MtlsMode, Peer, PeerAuthentication, PortProtocol, Scoped, ServicePort, Tunnel,
    Undeclared,
};
use weft_mesh::{SpiffeId, WorkloadId};

use super::field::{Read, list, parse, port, protocol, sorted, wrong};
use super::{policy, written};
use crate::range;

/// Reads the workload's own record. A file without one serves nobody, so nothing is let in.
pub(super) fn inbound(
    written: Option<&written::Inbound>,
    (workload, identity): (&WorkloadId, &SpiffeId),
    addresses: &[IpAddr],
    file: &str,
) -> Read<Inbound> {
    let mut record = Inbound {
        workload: workload.clone(),
        identity: identity.clone(),
        service: workload.name().to_owned(),
        addresses: addresses.to_vec(),
        ports: Vec::new(),
        peer_authentication: PeerAuthentication {
            default: Scoped { mode: MtlsMode::Strict, origin: None },
            ports: Default::default(),
        },
        policies: Vec::new(),
    };
    let Some(written) = written else { return Ok(record) };
    if let Some(service) = &written.service {
        record.service.clone_from(service);
    }
    let ports = list("inbound.ports", &written.ports, |field, found| {
        Ok(PortProtocol {
            port: port(format!("{field}.port"), found.port)?,
            name: found.name.clone(),
            protocol: protocol(format!("{field}.protocol"), found.protocol.as_deref())?,
        })
    })?;
    record.ports = sorted("inbound.ports", ports, |p| p.port)?;
    record.peer_authentication =
        policy::peer_authentication("inbound.peerAuthentication", written.peer_authentication.as_ref())?;
    record.policies = policy::policies("inbound.policies", &written.policies, file)?;
    Ok(record)
}

/// Reads all destinations; no host and no address may stand twice.
pub(super) fn destinations(written: &[written::Destination]) -> Read<Vec<Destination>> {
    let found = list("destinations", written, destination)?;
    for (at, one) in found.iter().enumerate() {
        let same =
            |other: &Destination| other.host == one.host || other.addresses.iter().any(|ip| one.addresses.contains(ip));
        if found[..at].iter().any(same) {
            let expected = "a host and addresses that no other destination has";
            return Err(wrong(format!("destinations[{at}]"), expected, format!("{:?} again", one.host)));
        }
    }
    Ok(found)
}

fn destination(field: &str, written: &written::Destination) -> Read<Destination> {
    let expected = "a full name, as server.default.svc.cluster.local";
    let no_host = || wrong(format!("{field}.host"), expected, format!("{:?}", written.host));
    let mut labels = written.host.split('.');
    let (Some(service), Some(namespace), Some(_)) = (labels.next(), labels.next(), labels.next()) else {
        return Err(no_host());
    };
    if written.host.split('.').any(str::is_empty) {
        return Err(no_host());
    }
    let ports = list(format!("{field}.ports"), &written.ports, |field, found| {
        let number = port(format!("{field}.port"), found.port)?;
        Ok(ServicePort {
            port: number,
            target: port(format!("{field}.target"), found.target.unwrap_or(number))?,
            protocol: protocol(format!("{field}.protocol"), found.protocol.as_deref())?,
        })
    })?;
    Ok(Destination {
        host: written.host.clone(),
        service: service.to_owned(),
        namespace: namespace.to_owned(),
        addresses: list(format!("{field}.addresses"), &written.addresses, |field, text| mesh_address(field, text))?,
        ports: sorted(&format!("{field}.ports"), ports, |p| p.port)?,
        undeclared: Undeclared::Forward,
        endpoints: list(format!("{field}.endpoints"), &written.endpoints, endpoint)?,
    })
}

/// The endpoints of services as destinations of their own, by their own addresses and ports; each once.
pub(super) fn workloads(services: &[Destination]) -> Vec<Destination> {
    let mut found: Vec<Destination> = Vec::new();
    for (service, endpoint) in services.iter().flat_map(|service| service.endpoints.iter().map(move |e| (service, e))) {
        let Some(workload) = &endpoint.workload else { continue };
        if found.iter().any(|known| known.addresses.contains(&endpoint.address)) {
            continue;
        }
        let mut ports: Vec<ServicePort> =
            service.ports.iter().map(|port| ServicePort { port: port.target, ..*port }).collect();
        ports.sort_by_key(|port| port.port);
        ports.dedup_by_key(|port| port.port);
        found.push(Destination {
            host: workload.to_string(),
            addresses: vec![endpoint.address],
            ports,
            endpoints: vec![endpoint.clone()],
            ..service.clone()
        });
    }
    found
}

/// Anything outside the mesh's own ranges would pass plainly.
fn mesh_address(field: &str, text: &str) -> Read<IpAddr> {
    let expected = "an address of 240.240.0.0/16 or fd77:6566:7400::/48";
    let ip = parse(field, expected, text)?;
    if range::is_mesh(ip) { Ok(ip) } else { Err(wrong(field, expected, ip)) }
}

fn endpoint(field: &str, written: &written::Endpoint) -> Read<Endpoint> {
    let identity: SpiffeId = parse(format!("{field}.identity"), SPIFFE_ID, &written.identity)?;
    let peer = |kind: &str, text: &str| -> Read<Peer> {
        let address = parse(format!("{field}.tunnel.{kind}"), "IP:PORT", text)?;
        Ok(Peer { address, identity: identity.clone() })
    };
    Ok(Endpoint {
        workload: Some(parse(format!("{field}.workload"), "NAMESPACE/NAME", &written.workload)?),
        address: parse(format!("{field}.address"), "an IP address", &written.address)?,
        tunnel: match &written.tunnel {
            written::Tunnel::Mesh(text) => Tunnel::Mesh(peer("mesh", text)?),
            written::Tunnel::Hbone(text) => Tunnel::Hbone(peer("hbone", text)?),
            written::Tunnel::Plain => Tunnel::Plain,
        },
        ports: Vec::new(),
        weight: match written.weight {
            Some(0) => return Err(wrong(format!("{field}.weight"), "a weight above 0", 0)),
            weight => weight.unwrap_or(1),
        },
    })
}

/// What an identity looks like, in messages.
pub(super) const SPIFFE_ID: &str = "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT";
