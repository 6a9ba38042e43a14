//! What others ask of the program by way of the proxy, in a pod: the kubelet's probes, which prove no
//! identity and would fail where callers must, and Prometheus's scrapes. Only what the pod's own
//! manifest names is asked, and of a probe nothing but its outcome is told.

mod grpc;
mod http;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::limits::SCRAPE_WAIT;

/// What may be asked.
#[derive(Debug, Default)]
pub struct Checks {
    /// Probes, by the path under which they are asked for.
    pub probes: BTreeMap<String, Probe>,
    /// Where the program's own metrics are.
    pub scrape: Option<Scrape>,
    /// The pod's address, at which the program is asked.
    pub address: Option<IpAddr>,
}

/// One probe, as the pod's manifest had it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Probe {
    action: Action,
    timeout: Duration,
}

/// Where the program's own metrics are (annotations `prometheus.io/port` and `path`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrape {
    port: u16,
    #[serde(default = "metrics")]
    path: String,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Get(HttpGet),
    Connect(TcpSocket),
    Grpc(Grpc),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpGet {
    port: u16,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    scheme: Scheme,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Scheme {
    #[default]
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpSocket {
    port: u16,
    host: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grpc {
    port: u16,
    #[serde(default)]
    service: Option<String>,
}

/// What came of a probe: a status of HTTP, and a word on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Checks {
    /// Does what the probe of this path says; `None`: there is none.
    pub(crate) async fn probe(&self, path: &str) -> Option<Outcome> {
        let probe = self.probes.get(path)?;
        let Some(own) = self.address else {
            return Some(Outcome::failed("the pod has no address"));
        };
        let outcome = match timeout(probe.timeout, probe.run(own)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} s", probe.timeout.as_secs())),
        };
        Some(outcome.unwrap_or_else(|problem| Outcome::failed(&problem)))
    }

    /// The program's own metrics; `None`: nobody wants them.
    pub(crate) async fn scrape(&self) -> Option<Result<Vec<u8>, String>> {
        let scrape = self.scrape.as_ref()?;
        let at = SocketAddr::new(self.address?, scrape.port);
        let fetched = timeout(SCRAPE_WAIT, http::page(at, &scrape.path)).await;
        Some(fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", SCRAPE_WAIT.as_secs()))))
    }
}

impl Probe {
    async fn run(&self, own: IpAddr) -> Result<Outcome, String> {
        match &self.action {
            Action::Get(get) => {
                let status = http::get(SocketAddr::new(host(get.host.as_deref(), own)?, get.port), get).await?;
                // The kubelet follows redirects, and counts one to elsewhere as success; this one counts all.
                let status = if (200..400).contains(&status) { 200 } else { status };
                Ok(Outcome { status, text: format!("the program's status is {status}") })
            }
            Action::Connect(socket) => {
                let at = SocketAddr::new(host(socket.host.as_deref(), own)?, socket.port);
                http::connect(at).await.map(|_| Outcome::good("the program takes connections"))
            }
            Action::Grpc(grpc) => {
                let service = grpc.service.as_deref().unwrap_or_default();
                grpc::check(SocketAddr::new(own, grpc.port), service).await.map(|()| Outcome::good("serving"))
            }
        }
    }
}

impl Outcome {
    fn good(text: &str) -> Self {
        Self { status: 200, text: text.to_owned() }
    }

    fn failed(text: &str) -> Self {
        Self { status: 503, text: text.to_owned() }
    }
}

/// Where a probe goes. Names aren't resolved: a pod's own address is what nearly all mean.
fn host(host: Option<&str>, own: IpAddr) -> Result<IpAddr, String> {
    match host {
        None | Some("") => Ok(own),
        Some("localhost") => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(text) => text.parse().map_err(|_| format!("expected an IP address as the probe's host, found {text}")),
    }
}

impl HttpGet {
    /// Nothing in it may begin another line of the request.
    fn check(&self) -> Result<(), String> {
        let of_headers = self.headers.iter().flat_map(|(name, value)| [name, value]);
        match of_headers.chain([&self.path]).find(|word| word.contains(['\r', '\n'])) {
            Some(word) => Err(format!("expected one line, found {word:?}")),
            None => Ok(()),
        }
    }
}

impl TryFrom<Written> for Probe {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let action = match (written.http_get, written.tcp_socket, written.grpc) {
            (Some(get), None, None) => {
                get.check()?;
                Action::Get(get)
            }
            (None, Some(socket), None) => Action::Connect(socket),
            (None, None, Some(grpc)) => Action::Grpc(grpc),
            _ => return Err("expected one of httpGet, tcpSocket and grpc".to_owned()),
        };
        Ok(Self { action, timeout: Duration::from_secs(written.timeout_seconds.unwrap_or(1).max(1).into()) })
    }
}

fn root() -> String {
    "/".to_owned()
}

fn metrics() -> String {
    "/metrics".to_owned()
}

#[cfg(test)]
mod tests;
