//! Probes of the program, which the kubelet makes from outside the mesh: they are sent to the
//! proxy, which makes them itself inside the pod, so that they work whatever policy demands.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::sidecar::ADMIN_PORT;

/// Rewritten probes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rewritten {
    /// What the proxy is to do, by the path at which it is asked.
    pub(super) handlers: Map<String, Value>,
    /// The changes to the pod.
    pub(super) operations: Vec<Operation>,
    /// Probes that can't be made through the proxy.
    pub(super) remarks: Vec<String>,
}

/// Rewrites the probes of all containers that run beside the proxy.
pub(super) fn rewrite(pod: &Value) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for (list, is_beside) in [("containers", every as fn(&Value) -> bool), ("initContainers", is_sidecar)] {
        let containers = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, container) in containers.iter().enumerate().filter(|(_, container)| is_beside(container)) {
            for (pointer, word) in PROBES {
                rewritten.take(container, &format!("/spec/{list}/{index}"), pointer, word);
            }
        }
    }
    rewritten
}

fn every(_: &Value) -> bool {
    true
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

impl Rewritten {
    fn take(&mut self, container: &Value, place: &str, pointer: &str, word: &str) {
        let Some(probe) = container.pointer(pointer).and_then(Value::as_object) else { return };
        let name = container["name"].as_str().unwrap_or_default();
        let found = HANDLERS.into_iter().find_map(|kind| Some((kind, probe.get(kind).filter(|it| it.is_object())?)));
        let Some((kind, asked)) = found else { return };
        let ports = container["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut handler = match handler(kind, asked, ports) {
            Ok(handler) => handler,
            Err(reason) => {
                let field = pointer[1..].replace('/', ".");
                self.remarks.push(format!("{field} of the container {name:?} stays as it is: {reason}"));
                return;
            }
        };
        // A hook has no timeout of its own; it is bounded by the pod's grace period.
        let timeout = probe.get("timeoutSeconds").cloned().unwrap_or(json!(if is_hook(pointer) { 30 } else { 1 }));
        handler.insert("timeoutSeconds".to_owned(), timeout);
        let path = format!("{PROBES_PATH}{name}/{word}");
        let mut sent: Map<String, Value> =
            probe.iter().filter(|(key, _)| *key != kind).map(|(k, v)| (k.clone(), v.clone())).collect();
        sent.insert("httpGet".to_owned(), json!({"path": path, "port": ADMIN_PORT, "scheme": "HTTP"}));
        self.operations.push(Operation::replace(format!("{place}{pointer}"), Value::Object(sent)));
        self.handlers.insert(path, Value::Object(handler));
    }
}

/// What the proxy does instead of the kubelet.
fn handler(kind: &str, asked: &Value, ports: &[Value]) -> Result<Map<String, Value>, &'static str> {
    let port = resolve(&asked["port"], ports).ok_or("its port can't be resolved")?;
    let host = asked["host"].as_str().filter(|host| !host.is_empty());
    if host.is_some_and(|host| host != "localhost" && host.parse::<IpAddr>().is_err()) {
        return Err("its host is a name, and not the pod");
    }
    let mut made = Map::new();
    made.insert("port".to_owned(), port.into());
    made.extend(host.map(|host| ("host".to_owned(), host.into())));
    match kind {
        "httpGet" => {
            let path = asked["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("/");
            made.insert("path".to_owned(), path.into());
            made.insert("scheme".to_owned(), asked["scheme"].as_str().unwrap_or("HTTP").into());
            let headers = asked["httpHeaders"].as_array().map(Vec::as_slice).unwrap_or_default();
            let pairs: Vec<Value> = headers.iter().map(|header| json!([header["name"], header["value"]])).collect();
            if !pairs.is_empty() {
                made.insert("headers".to_owned(), pairs.into());
            }
        }
        "grpc" => {
            let service = asked["service"].as_str().filter(|service| !service.is_empty());
            made.extend(service.map(|service| ("service".to_owned(), service.into())));
        }
        // The proxy opens plain connections to its own pod alone.
        _ if host.is_some() => return Err("it names a host"),
        _ => {}
    }
    Ok(Map::from_iter([(kind.to_owned(), Value::Object(made))]))
}

/// A port's number; names are those of the container's own ports.
fn resolve(port: &Value, ports: &[Value]) -> Option<u16> {
    let number = match port {
        Value::String(name) => match ports.iter().find(|declared| declared["name"] == **name) {
            Some(declared) => declared["containerPort"].as_u64(),
            None => name.parse().ok(),
        },
        port => port.as_u64(),
    };
    number.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn is_hook(pointer: &str) -> bool {
    pointer.starts_with("/lifecycle")
}

/// Where the proxy is asked for probes that it makes.
pub(crate) const PROBES_PATH: &str = "/app-health/";
/// Where a probe stands in its container, and the last part of the path at which the proxy is asked.
/// Hooks are called from outside, too.
const PROBES: [(&str, &str); 5] = [
    ("/livenessProbe", "livez"),
    ("/readinessProbe", "readyz"),
    ("/startupProbe", "startupz"),
    ("/lifecycle/postStart", "poststartz"),
    ("/lifecycle/preStop", "prestopz"),
];
/// `exec` and `sleep` need no network.
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];

#[cfg(test)]
mod tests;
