//! A proxy in a Kubernetes pod: told by its environment, which the injector writes, and listening in
//! the pod's own network namespace. It speaks no protocol of Kubernetes' own.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use socket2::{Domain, Protocol, Socket, Type};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use crate::checks::{Checks, Probe, Scrape};
use crate::config::{
    ADMIN_PORT, Config, ConfigError, ControlAddress, ControlConfig, INBOUND_PORT, MESH_PORT, NetworkControl,
    OUTBOUND_PORT, OriginalDestination, OutboundListener, Program, room_for_callers,
};

/// What the environment says.
#[derive(Debug)]
pub struct Pod {
    /// The pod's addresses; never none.
    pub addresses: Vec<IpAddr>,
    /// What the kubelet and Prometheus may ask by way of the proxy.
    pub checks: Checks,
    /// What the control thread needs.
    pub control: ControlConfig,
}

/// Reads the environment, of which `variable` gives the values.
///
/// # Errors
/// [`ConfigError::Environment`] with every mistake.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Pod, ConfigError> {
    let mut mistakes = Vec::new();
    let pod = Environment { variable, mistakes: &mut mistakes }.pod();
    match pod {
        Some(pod) if mistakes.is_empty() => Ok(pod),
        _ => Err(ConfigError::Environment(mistakes)),
    }
}

/// Binds the pod's listeners. What they accept waits for records.
///
/// # Errors
/// [`ConfigError::Socket`], when another program has one of the proxy's ports.
pub fn config(pod: Pod) -> Result<(Config, ControlConfig), ConfigError> {
    let mut outbound = vec![listener(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), OUTBOUND_PORT))?];
    if let Some(listener) = where_ipv6_is(listener(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), OUTBOUND_PORT)))? {
        outbound.push(listener);
    }
    let outbound = outbound
        .into_iter()
        .map(|listener| OutboundListener { listener, original: OriginalDestination::Tracked })
        .collect();
    let config = Config {
        workload: pod.control.workload.clone(),
        addresses: pod.addresses,
        outbound,
        mesh: vec![any(MESH_PORT)?],
        admin: Some(any(ADMIN_PORT)?),
        published: Vec::new(),
        captured: vec![any(INBOUND_PORT)?],
        dns: Vec::new(),
        udp: Vec::new(),
        names: None,
        callers: room_for_callers(),
        program: Program::Pod,
        checks: pod.checks,
        ready: None,
        access: Some(Box::new(io::stderr())),
    };
    Ok((config, pod.control))
}

/// A listener at all of the pod's addresses, of both families where there are both.
fn any(port: u16) -> Result<TcpListener, ConfigError> {
    match where_ipv6_is(listener(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)))? {
        Some(listener) => Ok(listener),
        None => listener(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
    }
}

/// `None` where the pod has no IPv6.
fn where_ipv6_is(bound: Result<TcpListener, ConfigError>) -> Result<Option<TcpListener>, ConfigError> {
    match bound {
        Ok(listener) => Ok(Some(listener)),
        Err(ConfigError::Socket(_, error))
            if error.kind() == io::ErrorKind::AddrNotAvailable || error.kind() == io::ErrorKind::Unsupported =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn listener(at: SocketAddr) -> Result<TcpListener, ConfigError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // A proxy that is started again finds connections of the former one still ending.
        socket.set_reuse_address(true)?;
        if at.is_ipv6() {
            socket.set_only_v6(!at.ip().is_unspecified())?;
        }
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|e: io::Error| {
        let kind = match e.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => io::ErrorKind::Unsupported,
            _ => e.kind(),
        };
        ConfigError::Socket("listener", io::Error::new(kind, format!("{at}: {e}")))
    })
}

/// The environment, and what is wrong with it so far.
struct Environment<'m, F> {
    variable: F,
    mistakes: &'m mut Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Environment<'_, F> {
    fn pod(&mut self) -> Option<Pod> {
        let workload = self.workload();
        let domain = self.parsed::<TrustDomain>("WEFT_TRUST_DOMAIN", "a trust domain, as cluster.local");
        let identity = self.identity(domain.as_ref());
        let addresses = self.addresses();
        let address = self.parsed::<SocketAddr>("WEFT_CONTROL_ADDRESS", "IP:PORT");
        let control = self.parsed::<SpiffeId>("WEFT_CONTROL_IDENTITY", "a SPIFFE ID");
        let anchors = self.anchors();
        let token_file = self.text("WEFT_TOKEN_FILE", "the path of the service account's token").map(PathBuf::from);
        let probes = self.json::<BTreeMap<String, Probe>>("WEFT_PROBES").unwrap_or_default();
        let scrape = self.json::<Scrape>("WEFT_SCRAPE");
        let network = NetworkControl {
            address: address?,
            name: (self.variable)("WEFT_CONTROL_NAME").filter(|name| !name.is_empty()),
            identity: control?,
            trust: Trust { domain: domain?, anchors: anchors?, ..Trust::default() },
            token_file: token_file?,
        };
        let addresses = addresses?;
        let checks = Checks { probes, scrape, address: addresses.first().copied() };
        let address = ControlAddress::Network(network);
        Some(Pod { addresses, checks, control: ControlConfig { address, workload: workload?, identity: identity? } })
    }

    fn workload(&mut self) -> Option<WorkloadId> {
        let namespace = self.text("WEFT_POD_NAMESPACE", "the pod's namespace");
        let name = self.text("WEFT_POD_NAME", "the pod's name");
        let id = WorkloadId::new(&namespace?, &name?);
        self.sound("WEFT_POD_NAME", id)
    }

    fn identity(&mut self, domain: Option<&TrustDomain>) -> Option<SpiffeId> {
        let account = self.text("WEFT_SERVICE_ACCOUNT", "the pod's service account");
        let namespace = (self.variable)("WEFT_POD_NAMESPACE");
        let id = SpiffeId::new(domain?, &namespace?, &account?);
        self.sound("WEFT_SERVICE_ACCOUNT", id)
    }

    fn addresses(&mut self) -> Option<Vec<IpAddr>> {
        let expected = "the pod's addresses, separated by commas";
        let text = self.text("WEFT_POD_IPS", expected)?;
        let addresses: Option<Vec<IpAddr>> = text.split(',').map(|ip| ip.trim().parse().ok()).collect();
        if addresses.is_none() {
            self.mistakes.push(format!("WEFT_POD_IPS: expected {expected}, found `{text}`"));
        }
        addresses
    }

    fn anchors(&mut self) -> Option<Vec<Vec<u8>>> {
        let text = self.text("WEFT_TRUST_ANCHORS", "certificates in PEM")?;
        let anchors: Result<Vec<Vec<u8>>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).map(|der| der.map(|der| der.to_vec())).collect();
        let found = match anchors {
            Ok(anchors) if !anchors.is_empty() => return Some(anchors),
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        self.mistakes.push(format!("WEFT_TRUST_ANCHORS: expected certificates in PEM, found {found}"));
        None
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let text = (self.variable)(name).filter(|text| !text.is_empty())?;
        self.sound(name, serde_json::from_str(&text))
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name, expected)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.mistakes.push(format!("{name}: expected {expected}, found `{text}`"));
        }
        parsed
    }

    fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        let text = (self.variable)(name).filter(|text| !text.is_empty());
        if text.is_none() {
            self.mistakes.push(format!("{name}: expected {expected}, found nothing"));
        }
        text
    }

    fn sound<T, E: std::fmt::Display>(&mut self, name: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.mistakes.push(format!("{name}: {error}"))).ok()
    }
}

/// Connections that wait to be accepted; the kernel's own bound for a new namespace is the same.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &[(&str, &str)]) -> Result<Pod, ConfigError> {
        let key = rcgen::KeyPair::generate().unwrap();
        let anchor = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap().self_signed(&key).unwrap().pem();
        let usual = [
            ("WEFT_POD_NAME", "api-7d9c-x2"),
            ("WEFT_POD_NAMESPACE", "shop"),
            ("WEFT_POD_IPS", "10.244.1.7,fd00:89::7"),
            ("WEFT_SERVICE_ACCOUNT", "api"),
            ("WEFT_TRUST_DOMAIN", "cluster.local"),
            ("WEFT_CONTROL_ADDRESS", "10.96.0.7:15012"),
            ("WEFT_CONTROL_IDENTITY", "spiffe://cluster.local/ns/weft/sa/weft-controller"),
            ("WEFT_TRUST_ANCHORS", &anchor),
            ("WEFT_TOKEN_FILE", "/var/run/secrets/weft.io/token"),
        ];
        let all: BTreeMap<String, String> =
            usual.iter().chain(changed).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        from_environment(|name| all.get(name).cloned())
    }

    #[test]
    fn a_pod_is_told_by_its_environment() {
        let pod = read(&[("WEFT_SCRAPE", r#"{"port":9090,"path":"/m"}"#), ("WEFT_PROBES", "")]).unwrap();
        assert_eq!(pod.addresses.len(), 2);
        assert_eq!(pod.control.workload.as_str(), "shop/api-7d9c-x2");
        assert_eq!(pod.control.identity.as_str(), "spiffe://cluster.local/ns/shop/sa/api");
        assert!(pod.checks.scrape.is_some() && pod.checks.probes.is_empty());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let error = read(&[
            ("WEFT_POD_IPS", "10.244.1.7,x"),
            ("WEFT_SERVICE_ACCOUNT", ""),
            ("WEFT_CONTROL_ADDRESS", "weft-controller"),
            ("WEFT_TRUST_ANCHORS", "no pem"),
            ("WEFT_PROBES", "{"),
        ]);
        let ConfigError::Environment(mistakes) = error.unwrap_err() else { panic!("another error") };
        let names: Vec<&str> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
        let all = ["WEFT_SERVICE_ACCOUNT", "WEFT_POD_IPS", "WEFT_CONTROL_ADDRESS", "WEFT_TRUST_ANCHORS", "WEFT_PROBES"];
        assert_eq!(names, all, "{mistakes:?}");
    }
}
