//! The codec of inbound records, save their policies.

use weft_mesh::record::{Inbound, MtlsMode, PeerAuthentication, PortProtocol, Scoped};

use super::RecordError;
use super::destination::{read_protocol, write_protocol};
use super::field::{Read, addresses, ascending, bytes, choice, list, name, port, required, text};
use super::policy::{read_origin, read_policy, write_origin, write_policy};
use crate::proto::weft::v1 as proto;

impl From<&Inbound> for proto::Inbound {
    fn from(inbound: &Inbound) -> Self {
        Self {
            workload: inbound.workload.to_string(),
            identity: inbound.identity.to_string(),
            service: inbound.service.clone(),
            addresses: inbound.addresses.iter().copied().map(bytes).collect(),
            ports: inbound.ports.iter().map(proto::Port::from).collect(),
            peer_authentication: Some(write_authentication(&inbound.peer_authentication)),
            policies: inbound.policies.iter().map(write_policy).collect(),
        }
    }
}

impl TryFrom<proto::Inbound> for Inbound {
    type Error = RecordError;

    fn try_from(message: proto::Inbound) -> Result<Self, RecordError> {
        let ports = list("ports", message.ports, PortProtocol::try_from)?;
        ascending("ports", &ports, |p| p.port)?;
        let authentication = required("peer_authentication", message.peer_authentication)?;
        Ok(Self {
            workload: name("workload", "NAMESPACE/NAME", &message.workload)?,
            identity: name("identity", "a SPIFFE ID", &message.identity)?,
            service: text("service", message.service)?,
            addresses: addresses("addresses", message.addresses)?,
            ports,
            peer_authentication: read_authentication(authentication)
                .map_err(|error| error.within("peer_authentication"))?,
            policies: list("policies", message.policies, read_policy)?,
        })
    }
}

impl From<&PortProtocol> for proto::Port {
    fn from(port: &PortProtocol) -> Self {
        Self {
            port: port.port.into(),
            name: port.name.clone().unwrap_or_default(),
            protocol: write_protocol(port.protocol).into(),
            target: 0,
        }
    }
}

impl TryFrom<proto::Port> for PortProtocol {
    type Error = RecordError;

    fn try_from(message: proto::Port) -> Result<Self, RecordError> {
        Ok(Self {
            port: port("port", message.port)?,
            name: Some(message.name).filter(|name| !name.is_empty()),
            protocol: read_protocol("protocol", message.protocol)?,
        })
    }
}

fn write_authentication(authentication: &PeerAuthentication) -> proto::PeerAuthentication {
    proto::PeerAuthentication {
        default: Some(write_scoped(&authentication.default)),
        ports: authentication.ports.iter().map(|(&port, scoped)| (port.into(), write_scoped(scoped))).collect(),
    }
}

fn read_authentication(message: proto::PeerAuthentication) -> Read<PeerAuthentication> {
    let default = required("default", message.default)?;
    let ports = message.ports.into_iter().map(|(number, scoped)| {
        let field = format!("ports[{number}]");
        Ok((port(&field, number)?, read_scoped(scoped).map_err(|error| error.within(&field))?))
    });
    Ok(PeerAuthentication {
        default: read_scoped(default).map_err(|error| error.within("default"))?,
        ports: ports.collect::<Read<_>>()?,
    })
}

fn write_scoped(scoped: &Scoped) -> proto::ScopedMode {
    let mode = match scoped.mode {
        MtlsMode::Disable => proto::MtlsMode::Disable,
        MtlsMode::Permissive => proto::MtlsMode::Permissive,
        MtlsMode::Strict => proto::MtlsMode::Strict,
    };
    proto::ScopedMode { mode: mode.into(), origin: scoped.origin.as_ref().map(write_origin) }
}

fn read_scoped(message: proto::ScopedMode) -> Read<Scoped> {
    let mode = choice("mode", message.mode, |mode| match mode {
        proto::MtlsMode::MtlsUnspecified => None,
        proto::MtlsMode::Disable => Some(MtlsMode::Disable),
        proto::MtlsMode::Permissive => Some(MtlsMode::Permissive),
        proto::MtlsMode::Strict => Some(MtlsMode::Strict),
    })?;
    Ok(Scoped { mode, origin: message.origin.map(read_origin) })
}
