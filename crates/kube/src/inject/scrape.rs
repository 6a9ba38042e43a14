//! Prometheus' annotations: a scrape goes to the proxy, which adds what the program says.

use serde_json::{Value, json};

use super::sidecar::ADMIN_PORT;

/// What becomes of a pod's scrape.
#[derive(Debug, PartialEq)]
pub(super) enum Scrape {
    /// It asks for none.
    None,
    /// The proxy asks the program, at this endpoint.
    Merged(Value),
    /// It stays as it is, for this reason.
    Kept(&'static str),
}

/// Reads a pod's annotations.
pub(super) fn scrape(pod: &Value) -> Scrape {
    let annotations = &pod["metadata"]["annotations"];
    let said = |name: &str| annotations[format!("prometheus.io/{name}")].as_str();
    if said("scrape") != Some("true") {
        return Scrape::None;
    }
    if said("scheme").is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
        return Scrape::Kept("prometheus.io/scheme isn't http: the scrape goes to the program, as policy allows");
    }
    let port = match said("port") {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0),
        None => {
            pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok())
        }
    };
    match port {
        Some(ADMIN_PORT) => Scrape::None,
        Some(port) => Scrape::Merged(json!({"port": port, "path": said("path").unwrap_or("/metrics")})),
        None => Scrape::Kept("prometheus.io/port names no port: the scrape goes to the program, as policy allows"),
    }
}

/// The annotations by which Prometheus finds the proxy.
pub(super) fn annotations() -> [(&'static str, String); 2] {
    [("prometheus.io/port", ADMIN_PORT.to_string()), ("prometheus.io/path", "/metrics".to_owned())]
}
