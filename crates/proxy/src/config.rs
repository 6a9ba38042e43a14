//! What one proxy is told: listeners, addresses, where its sockets, its log and its records come
//! from. Made from the launcher's bootstrap, or by whoever runs a proxy from a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::sys::resource::{Resource, getrlimit};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, WorkloadId};
use weft_wire::bootstrap::{self, Bootstrap, Names, Published, Redirection};

use crate::checks::Checks;
use crate::limits::{FILES_PER_CALLER, INBOUND_CONNECTIONS};
use crate::{fds, udp};

/// The data thread's configuration. Its sockets are non-blocking and not yet watched.
pub struct Config {
    /// Which workload this is.
    pub workload: WorkloadId,
    /// The workload's own addresses.
    pub addresses: Vec<IpAddr>,
    /// Where the program's connections arrive.
    pub outbound: Vec<OutboundListener>,
    /// Where other proxies call.
    pub mesh: Vec<TcpListener>,
    /// Where metrics are read.
    pub admin: Option<TcpListener>,
    /// Where callers outside the mesh arrive, and at which of the workload's ports they are meant.
    pub published: Vec<(TcpListener, u16)>,
    /// Where plain callers' connections arrive that were redirected (a pod).
    pub captured: Vec<TcpListener>,
    /// Where DNS questions arrive, each with the address that was asked.
    pub dns: Vec<UdpSocket>,
    /// Where other datagrams arrive, a pair a family; empty where the kernel refuses them.
    pub udp: Vec<udp::Sockets>,
    /// How names are resolved.
    pub names: Option<Names>,
    /// How many connections callers may have at once.
    pub callers: usize,
    /// Where the program is.
    pub program: Program,
    /// What is asked of the program for others, at the port of metrics.
    pub checks: Checks,
    /// Gets one byte when the proxy serves.
    pub ready: Option<OwnedFd>,
    /// Gets the access log.
    pub access: Option<Box<dyn Write + Send>>,
}

/// Where the program is, and so where sockets towards it come from.
#[derive(Debug)]
pub enum Program {
    /// In a network namespace of its own: the socket maker's end, and the ports of its loopback that are the host's.
    Inside(OwnedFd, BTreeSet<u16>),
    /// On the host: at these addresses by the workload's port, else on loopback at that port.
    Host(BTreeMap<u16, SocketAddr>),
    /// Beside the proxy, in one pod. Any address may be of the mesh, then, and not only its own ranges.
    Pod,
}

/// A listener of the program's connections.
pub struct OutboundListener {
    /// The listener.
    pub listener: TcpListener,
    /// How an accepted socket tells where its program wanted to go.
    pub original: OriginalDestination,
}

/// How an accepted socket tells where its program wanted to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalDestination {
    /// It is its local address (TPROXY).
    LocalAddress,
    /// The kernel's connection tracking remembers it (REDIRECT).
    Tracked,
    /// Always the same: a proxy run from a file.
    Fixed(SocketAddr),
}

/// What the control thread needs.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where the control plane answers.
    pub address: ControlAddress,
    /// The name of the inbound record.
    pub workload: WorkloadId,
    /// The identity that a certificate is asked for.
    pub identity: SpiffeId,
}

/// Where the control plane answers, and with what the proxy proves itself there.
#[derive(Debug, Clone)]
pub enum ControlAddress {
    /// A Unix socket (one machine), and the bearer token that the launcher was given.
    Socket(bootstrap::ControlAddress),
    /// A server of the mesh's own TLS (Kubernetes).
    Network(NetworkControl),
}

/// A control plane that is reached over TLS. A first certificate is asked for with a token, and
/// everything else by that certificate.
#[derive(Debug, Clone)]
pub struct NetworkControl {
    /// Where it answers.
    pub address: SocketAddr,
    /// `NAME:PORT`, which is looked up when it doesn't answer there: a Service that is made again has another address.
    pub name: Option<String>,
    /// Who must answer there.
    pub identity: SpiffeId,
    /// Whom to trust until its own record of trust comes.
    pub trust: Trust,
    /// The file with the service account's token. It is read anew each time, for it is renewed.
    pub token_file: PathBuf,
}

/// Why a bootstrap is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("expected a bootstrap, found: {0}")]
    Json(#[from] serde_json::Error),
    /// A name in it isn't one.
    #[error(transparent)]
    Name(#[from] weft_mesh::NameError),
    /// A socket in it can't be used.
    #[error("{0}: {1}")]
    Socket(&'static str, io::Error),
    /// The environment of a pod doesn't tell enough; every mistake in it.
    #[error("the environment that the injector writes is wrong: {}", .0.join("; "))]
    Environment(Vec<String>),
}

/// Reads a bootstrap and takes the sockets that it names.
///
/// # Errors
/// [`ConfigError`]; the proxy can't start then.
pub fn from_bootstrap(bootstrap: Bootstrap) -> Result<(Config, ControlConfig), ConfigError> {
    let workload: WorkloadId = bootstrap.workload.parse()?;
    let identity: SpiffeId = bootstrap.identity.parse()?;
    let sockets = &bootstrap.sockets;
    let original = match sockets.redirection {
        Redirection::Tproxy => OriginalDestination::LocalAddress,
        Redirection::Redirect => OriginalDestination::Tracked,
    };
    let take = |number| fds::own(number).map_err(|e| ConfigError::Socket("inherited socket", e));
    let config = Config {
        workload: workload.clone(),
        addresses: bootstrap.addresses,
        outbound: (sockets.outbound.iter())
            .map(|number| Ok(OutboundListener { listener: take(*number)?.into(), original }))
            .collect::<Result<_, ConfigError>>()?,
        mesh: vec![listen(SocketAddr::new(bootstrap.host_address, MESH_PORT))?],
        admin: Some(listen(SocketAddr::new(bootstrap.host_address, ADMIN_PORT))?),
        published: (bootstrap.publish.iter())
            .map(|Published { listen: at, port }| Ok((listen(*at)?, *port)))
            .collect::<Result<_, ConfigError>>()?,
        dns: sockets.dns.iter().map(|number| Ok(take(*number)?.into())).collect::<Result<_, ConfigError>>()?,
        udp: (sockets.datagrams.iter())
            .map(|pair| Ok(udp::Sockets { captured: take(pair.captured)?.into(), answers: take(pair.answers)? }))
            .collect::<Result<_, ConfigError>>()?,
        names: Some(bootstrap.names),
        captured: Vec::new(),
        callers: room_for_callers(),
        program: Program::Inside(take(sockets.maker)?, bootstrap.forward.into_iter().collect()),
        checks: Checks::default(),
        ready: Some(take(sockets.ready)?),
        access: Some(Box::new(io::stderr())),
    };
    let address = ControlAddress::Socket(bootstrap.control);
    Ok((config, ControlConfig { address, workload, identity }))
}

/// Reads the bootstrap's JSON from an inherited descriptor.
///
/// # Errors
/// [`ConfigError`], when it can't be read or is none.
pub fn read_bootstrap(number: i32) -> Result<Bootstrap, ConfigError> {
    let file = File::from(fds::own(number).map_err(|e| ConfigError::Socket("bootstrap", e))?);
    Ok(serde_json::from_reader(io::BufReader::new(file))?)
}

/// How many connections callers may have: no more than there are files for, so that nobody who floods keeps others out
/// who may still connect.
pub(crate) fn room_for_callers() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    callers_of(usize::try_from(files).unwrap_or(usize::MAX))
}

/// As many callers as there are files for.
fn callers_of(files: usize) -> usize {
    (files / FILES_PER_CALLER).clamp(1, INBOUND_CONNECTIONS)
}

/// A listener on the host.
///
/// # Errors
/// [`ConfigError::Socket`] with the address in its text.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ConfigError> {
    let bound = TcpListener::bind(address).and_then(|l| l.set_nonblocking(true).map(|()| l));
    bound.map_err(|e| ConfigError::Socket("listener", io::Error::new(e.kind(), format!("{address}: {e}"))))
}

/// Where a pod's own connections arrive.
pub(crate) const OUTBOUND_PORT: u16 = 15001;
/// Where plain callers of a pod arrive.
pub(crate) const INBOUND_PORT: u16 = 15006;
/// The mesh protocol's port.
pub(crate) const MESH_PORT: u16 = 15008;
/// The port of metrics and readiness.
pub(crate) const ADMIN_PORT: u16 = 15020;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_as_many_as_there_are_files_for() {
        assert_eq!([0, 1_024, 20_000, usize::MAX].map(callers_of), [1, 341, 6_666, INBOUND_CONNECTIONS]);
    }
}
