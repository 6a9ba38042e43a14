//! `--port [NAME:]PORT[/appProtocol]` and `--publish [ADDR:]HOSTPORT:PORT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use weft_mesh::record::AppProtocol;
use weft_wire::bootstrap::Published;

/// A declared port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortFlag {
    /// Its name, where it has one.
    pub(crate) name: Option<String>,
    /// The port.
    pub(crate) port: u16,
    /// What is spoken there: by `/appProtocol`, else by the name as Istio reads it.
    pub(crate) protocol: AppProtocol,
}

impl FromStr for PortFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected [NAME:]PORT[/appProtocol], found {text:?}");
        let (rest, declared) = match text.split_once('/') {
            Some((rest, protocol)) => (rest, Some(app_protocol(protocol)?)),
            None => (text, None),
        };
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) if !name.is_empty() => (Some(name), port),
            Some(_) => return Err(wrong()),
            None => (None, rest),
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let protocol = declared.or_else(|| name.and_then(by_name)).unwrap_or_default();
        Ok(Self { name: name.map(str::to_owned), port, protocol })
    }
}

/// `--publish`: the host's address defaults to 127.0.0.1.
pub(crate) fn published(text: &str) -> Result<Published, String> {
    let wrong = || format!("expected [ADDR:]HOSTPORT:PORT, found {text:?}");
    let (listen, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let listen = match listen.parse::<u16>() {
        Ok(host_port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), host_port),
        Err(_) => listen.parse().map_err(|_| wrong())?,
    };
    // One that the kernel chose, nobody would know.
    if listen.port() == 0 {
        return Err(wrong());
    }
    Ok(Published { listen, port })
}

/// An `appProtocol`, as Istio and Kubernetes write them.
fn app_protocol(text: &str) -> Result<AppProtocol, String> {
    match text {
        "http" => Ok(AppProtocol::Http),
        "http2" | "h2c" | "kubernetes.io/h2c" => Ok(AppProtocol::Http2),
        "grpc" => Ok(AppProtocol::Grpc),
        "tcp" | "tls" | "https" | "mysql" | "mongo" | "redis" => Ok(AppProtocol::Tcp),
        _ => Err(format!("expected an appProtocol out of http, http2, h2c, grpc, tcp, tls, https, found {text:?}")),
    }
}

/// Istio's port names: the protocol, or the protocol and `-` and anything.
fn by_name(name: &str) -> Option<AppProtocol> {
    app_protocol(name.split('-').next().unwrap_or_default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: Option<&str>, port: u16, protocol: AppProtocol) {
        let expected = PortFlag { name: name.map(str::to_owned), port, protocol };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }

    #[test]
    fn ports_are_read() {
        check("8080", None, 8080, AppProtocol::Detect);
        check("8080/http", None, 8080, AppProtocol::Http);
        check("grpc:9000", Some("grpc"), 9000, AppProtocol::Grpc);
        check("http-admin:9000", Some("http-admin"), 9000, AppProtocol::Http);
        check("http-odd:9000/tcp", Some("http-odd"), 9000, AppProtocol::Tcp);
        check("metrics:9090", Some("metrics"), 9090, AppProtocol::Detect);
        for wrong in ["", "0", "70000", "a", ":80", "80/", "80/ftp", "a:b:80"] {
            assert!(wrong.parse::<PortFlag>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn published_ports_are_read() {
        let check = |text: &str, listen: &str, port| {
            assert_eq!(published(text), Ok(Published { listen: listen.parse().unwrap(), port }), "{text}");
        };
        check("8080:80", "127.0.0.1:8080", 80);
        check("0.0.0.0:8080:80", "0.0.0.0:8080", 80);
        check("[::1]:8080:80", "[::1]:8080", 80);
        for wrong in ["", "80", "a:80", "80:0", "0:80", "127.0.0.1:0:80", "1.2.3.4:80"] {
            assert!(published(wrong).is_err(), "{wrong}");
        }
    }
}
