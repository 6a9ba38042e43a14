//! Registrations as messages: for launchers, for people, and for the state folder. The token goes
//! to its launcher and into the state folder, to nobody else.

use std::net::{IpAddr, Ipv4Addr};

use weft_mesh::{SpiffeId, WorkloadId};
use weft_wire::proto::weft::v1 as proto;

use crate::addresses::{AddressPair, NAMESERVER};
use crate::idle::{Idle, Outcome};
use crate::registry::{Readiness, Registration, Spec, Token};

/// The suffix of the mesh's names.
pub(crate) const NAME_SUFFIX: &str = "svc.cluster.local";

/// What an earlier control plane assigned and a launcher wants to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: WorkloadId,
    pub(crate) identity: SpiffeId,
    pub(crate) v4: Ipv4Addr,
    pub(crate) host: Ipv4Addr,
    pub(crate) token: Token,
}

/// What a launcher is told of its workload.
pub(crate) fn assigned(workload: &Registration) -> proto::Assigned {
    proto::Assigned { token: workload.token.secret().to_owned(), ..without_token(workload) }
}

/// A workload as people see it.
pub(crate) fn listed(workload: &Registration) -> proto::Workload {
    let state = match (workload.launch, workload.readiness) {
        (None, _) => proto::WorkloadState::Unconfirmed,
        (Some(_), Readiness::Starting) => proto::WorkloadState::Starting,
        (Some(_), Readiness::Ready) => proto::WorkloadState::Ready,
    };
    message(workload, without_token(workload), state)
}

/// A replica that doesn't run just now, as people see it.
pub(crate) fn idle(Idle { place, outcome, wait, command }: Idle) -> proto::IdleWorkload {
    let ended = match outcome {
        Outcome::Code(code) => format!("exit {code}"),
        Outcome::Signal(Some(signal)) => format!("signal {signal}"),
        Outcome::Signal(None) => "ended".to_owned(),
    };
    proto::IdleWorkload {
        namespace: place.namespace,
        name: place.name,
        index: place.index.into(),
        ended,
        restart_in_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        command,
    }
}

/// A workload as the state folder keeps it.
pub(crate) fn stored(workload: &Registration) -> proto::Workload {
    let state = match workload.readiness {
        Readiness::Starting => proto::WorkloadState::Starting,
        Readiness::Ready => proto::WorkloadState::Ready,
    };
    message(workload, assigned(workload), state)
}

/// The workload of a message from the state folder: nobody's, until its launcher comes back.
///
/// # Errors
/// What was expected and found, in words.
pub(crate) fn restored(message: proto::Workload) -> Result<Registration, String> {
    let kept = Kept::read(&message.assigned.ok_or("expected what was assigned, found nothing")?)?;
    let spec = Spec::read(message.spec.ok_or("expected a workload, found nothing")?).map_err(|e| e.to_string())?;
    let readiness = match proto::WorkloadState::try_from(message.state) {
        Ok(proto::WorkloadState::Ready) => Readiness::Ready,
        _ => Readiness::Starting,
    };
    let Kept { id, identity, v4, host, token } = kept;
    let (addresses, started_at) = (AddressPair::of(v4), message.started_at);
    Ok(Registration { id, spec, identity, addresses, host, token, readiness, launch: None, started_at })
}

impl Kept {
    /// Reads what was assigned.
    ///
    /// # Errors
    /// What was expected and found, in words; never the token.
    pub(crate) fn read(message: &proto::Assigned) -> Result<Self, String> {
        let v4 = message.addresses.iter().find_map(|bytes| v4(bytes)).ok_or("expected an IPv4 address, found none")?;
        let host = v4_of(&message.host_address)?;
        let lengths = MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES;
        if !lengths.contains(&message.token.len()) || !message.token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("expected a token of {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} bytes, found another"));
        }
        Ok(Self {
            id: message.workload.parse().map_err(|error: weft_mesh::NameError| error.to_string())?,
            identity: message.identity.parse().map_err(|error: weft_mesh::NameError| error.to_string())?,
            v4,
            host,
            token: Token::from(message.token.as_str()),
        })
    }
}

fn message(workload: &Registration, assigned: proto::Assigned, state: proto::WorkloadState) -> proto::Workload {
    proto::Workload {
        spec: Some(workload.spec.write()),
        assigned: Some(assigned),
        state: state.into(),
        started_at: workload.started_at,
    }
}

fn without_token(workload: &Registration) -> proto::Assigned {
    let namespace = &workload.spec.namespace;
    let domain = NAME_SUFFIX.trim_start_matches("svc.");
    proto::Assigned {
        workload: workload.id.to_string(),
        identity: workload.identity.to_string(),
        addresses: workload.addresses.to_vec().into_iter().map(bytes).collect(),
        host_address: workload.host.octets().to_vec(),
        token: String::new(),
        nameserver: NAMESERVER.octets().to_vec(),
        search: vec![format!("{namespace}.{NAME_SUFFIX}"), NAME_SUFFIX.to_owned(), domain.to_owned()],
    }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn v4_of(bytes: &[u8]) -> Result<Ipv4Addr, String> {
    v4(bytes).ok_or_else(|| format!("expected a host address of 4 bytes, found {}", bytes.len()))
}

const MIN_TOKEN_BYTES: usize = 32;
const MAX_TOKEN_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::LaunchId;

    fn workload() -> Registration {
        let spec = proto::WorkloadSpec { name: "web".to_owned(), ..proto::WorkloadSpec::default() };
        Registration {
            id: "default/web-1".parse().unwrap(),
            spec: Spec::read(spec).unwrap(),
            identity: "spiffe://cluster.local/ns/default/sa/web".parse().unwrap(),
            addresses: AddressPair::of("240.240.1.1".parse().unwrap()),
            host: "127.1.1.1".parse().unwrap(),
            token: Token::from("x".repeat(43).as_str()),
            readiness: Readiness::Ready,
            launch: Some(LaunchId(7)),
            started_at: 5,
        }
    }

    #[test]
    fn a_stored_workload_comes_back_without_its_stream() {
        let expected = Registration { launch: None, ..workload() };
        assert_eq!(restored(stored(&workload())), Ok(expected));
    }

    #[test]
    fn people_never_see_the_token() {
        assert_eq!(listed(&workload()).assigned.unwrap().token, "");
        assert_eq!(assigned(&workload()).search[0], "default.svc.cluster.local");
    }

    #[test]
    fn what_was_never_assigned_is_refused() {
        let check = |spoil: fn(&mut proto::Assigned)| {
            let mut message = assigned(&workload());
            spoil(&mut message);
            let error = Kept::read(&message).unwrap_err();
            assert!(!error.contains("xxx") && error.contains("found"), "{error}");
        };
        check(|m| m.workload.clear());
        check(|m| m.identity.clear());
        check(|m| m.addresses.clear());
        check(|m| m.host_address.clear());
        check(|m| m.token.truncate(31));
        check(|m| m.token = "x".repeat(129));
        check(|m| m.token.push('\n'));
    }
}
