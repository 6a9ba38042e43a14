//! `Workload` of weft.io: a program that one machine's control plane starts and keeps running.
//!
//! A workload that isn't wholly understood is told and left out: whoever runs an earlier one goes on with that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::readiness::{self, Readiness};
use super::value::{number, words};
use crate::meta::Meta;
use crate::names::is_label;
use crate::notes::{Fields, Notes, Spot};
use crate::yaml::Value;

/// A `Workload`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its name; also its service's.
    pub name: String,
    /// The file, as it was named to [`crate::parse`].
    pub file: String,
    /// For policies' selectors.
    pub labels: BTreeMap<String, String>,
    /// The service account; the name where none is said.
    pub service_account: Option<String>,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Where it works, relative to the file's own folder; there where nothing is said.
    pub working_dir: Option<String>,
    /// What its environment has beside the control plane's.
    pub env: BTreeMap<String, String>,
    /// The ports that it declares.
    pub ports: Vec<WorkloadPort>,
    /// Ports of the host's loopback that it finds at its own.
    pub forward: Vec<u16>,
    /// How many of it run at a time.
    pub replicas: u16,
    /// Whether one that ended is started again.
    pub restart: Restart,
    /// The user of the machine that it runs as; for a control plane of root's alone.
    pub user: Option<String>,
    /// How it is known that one can be called; without it, as soon as its proxy listens.
    pub readiness: Option<Readiness>,
}

/// A port that a workload declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadPort {
    /// Its name, as Istio reads protocols from it.
    pub name: Option<String>,
    /// The port.
    pub port: u16,
    /// What is spoken there, as the user wrote it; one of [`APP_PROTOCOLS`].
    pub app_protocol: Option<String>,
    /// Where callers outside of the mesh reach it, on the host.
    pub publish: Option<SocketAddr>,
}

/// Whether a workload that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// When it failed.
    OnFailure,
    /// Never.
    Never,
}

/// Reads one whose `metadata` and `spec` are these. `None` after something was noted that isn't understood.
pub(crate) fn read(meta: Meta, root: &Fields<'_>, spec: Option<&Spot<'_>>, notes: &mut Notes<'_>) -> Option<Workload> {
    let (read, defect) = notes.watched(|notes| {
        let labels = root.field("metadata").map(|meta| labels(&meta, notes)).unwrap_or_default();
        let fields = spec?.fields(FIELDS, notes)?;
        let text = |name: &str, notes: &mut Notes<'_>| {
            fields.field(name).and_then(|spot| spot.filled(notes)).map(str::to_owned)
        };
        Some(Workload {
            namespace: meta.namespace?,
            name: label(&meta.name?, root, notes)?,
            file: meta.file,
            labels,
            service_account: fields.field("serviceAccount").and_then(|spot| account(&spot, notes)),
            user: text("user", notes),
            command: command(&fields, spec?, notes)?,
            working_dir: text("workingDir", notes),
            env: fields.field("env").map(|spot| env(&spot, notes)).unwrap_or_default(),
            ports: ports(&fields, notes),
            forward: forward(&fields, notes),
            replicas: replicas(&fields, notes),
            restart: restart(&fields, notes),
            readiness: fields.field("readiness").and_then(|spot| readiness::read(&spot, notes)),
        })
    });
    read.filter(|_| defect.is_none())
}

/// A service is called by this name, so it must be one label.
fn label(name: &str, root: &Fields<'_>, notes: &mut Notes<'_>) -> Option<String> {
    if is_label(name) && name.len() <= MAX_NAME_BYTES {
        return Some(name.to_owned());
    }
    let at = root.field("metadata").map(|spot| spot.node.at).unwrap_or_default();
    let found = crate::problem::quoted(name);
    notes.error(at, "metadata.name", format!("expected at most {MAX_NAME_BYTES} of a-z, 0-9 and '-', found {found}"));
    None
}

/// A part of an identity: what may stand between two slashes of a SPIFFE ID.
fn account(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let account = spot.filled(notes)?;
    if account.bytes().all(may_stand) && account.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some(account.to_owned());
    }
    notes.expected(spot, "a letter or digit, and then letters, digits, '.', '-' and '_'");
    None
}

fn labels(meta: &Spot<'_>, notes: &mut Notes<'_>) -> BTreeMap<String, String> {
    let Some(entries) = meta.entries(notes).and_then(|fields| fields.field("labels")) else { return BTreeMap::new() };
    let labels = texts(&entries, notes);
    for key in labels.keys().filter(|key| key.is_empty() || key.contains('=')) {
        let found = crate::problem::quoted(key);
        notes.error(entries.node.at, &entries.path, format!("expected a label's key, found {found}"));
    }
    labels
}

fn texts(spot: &Spot<'_>, notes: &mut Notes<'_>) -> BTreeMap<String, String> {
    let entries = spot.entries(notes);
    let entries = entries.iter().flat_map(Fields::iter);
    entries.filter_map(|(entry, spot)| Some((entry.key.clone(), spot.text(notes)?.to_owned()))).collect()
}

fn command(fields: &Fields<'_>, spec: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let Some(spot) = fields.field("command") else {
        let message = "expected a program and its arguments, such as [python3, server.py], found no such field";
        notes.error(spec.node.at, &fields.path_of("command"), message.to_owned());
        return None;
    };
    words(&spot, notes)
}

/// As Kubernetes has it, a list of names and values, or just a mapping.
fn env(spot: &Spot<'_>, notes: &mut Notes<'_>) -> BTreeMap<String, String> {
    let env = match &spot.node.value {
        Value::Map(_) => texts(spot, notes),
        _ => spot.items(notes).unwrap_or_default().iter().filter_map(|item| variable(item, notes)).collect(),
    };
    for name in env.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let found = crate::problem::quoted(name);
        notes.error(spot.node.at, &spot.path, format!("expected a variable's name, found {found}"));
    }
    env
}

fn variable(item: &Spot<'_>, notes: &mut Notes<'_>) -> Option<(String, String)> {
    let fields = item.fields(&["name", "value"], notes)?;
    let Some(name) = fields.field("name") else {
        notes.expected(item, "a name and a value");
        return None;
    };
    let value = fields.field("value").map_or(Some(""), |value| value.text(notes))?;
    Some((name.filled(notes)?.to_owned(), value.to_owned()))
}

fn ports(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Vec<WorkloadPort> {
    let Some(spot) = fields.field("ports") else { return Vec::new() };
    let items = spot.items(notes).unwrap_or_default();
    let ports: Vec<WorkloadPort> = items.iter().filter_map(|item| port(item, notes)).collect();
    for (n, port) in ports.iter().enumerate().filter(|(n, port)| ports[..*n].iter().any(|p| p.port == port.port)) {
        let at = items.get(n).map_or(spot.node.at, |item| item.node.at);
        notes.error(at, &spot.path, format!("expected each port once, found {} twice", port.port));
    }
    let published: Vec<SocketAddr> = ports.iter().filter_map(|port| port.publish).collect();
    for (_, at) in published.iter().enumerate().filter(|(n, at)| published[..*n].contains(at)) {
        notes.error(spot.node.at, &spot.path, format!("expected each port of the host once, found {at} twice"));
    }
    ports
}

fn forward(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Vec<u16> {
    let items = fields.field("forward").and_then(|spot| spot.items(notes)).unwrap_or_default();
    items.iter().filter_map(|item| number(item, notes)).collect()
}

/// A number, or a mapping.
fn port(item: &Spot<'_>, notes: &mut Notes<'_>) -> Option<WorkloadPort> {
    if matches!(item.node.value, Value::Number(_)) {
        return Some(WorkloadPort { name: None, port: number(item, notes)?, app_protocol: None, publish: None });
    }
    let fields = item.fields(PORT_FIELDS, notes)?;
    let Some(port) = fields.field("port") else {
        notes.expected(item, "a mapping with a port");
        return None;
    };
    let name = fields.field("name").and_then(|spot| port_name(&spot, notes));
    let app_protocol = fields.field("appProtocol").and_then(|spot| match spot.text(notes) {
        Some(text) if APP_PROTOCOLS.contains(&text) => Some(text.to_owned()),
        _ => {
            notes.expected(&spot, &format!("one of {}", APP_PROTOCOLS.join(", ")));
            None
        }
    });
    let publish = fields.field("publish").and_then(|spot| published(&spot, notes));
    Some(WorkloadPort { name, port: number(&port, notes)?, app_protocol, publish })
}

fn port_name(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let name = spot.text(notes)?;
    if !is_label(name) {
        notes.expected(spot, "a name of a-z, 0-9 and '-', at most 63 characters");
    }
    Some(name.to_owned())
}

/// `HOSTPORT` or `ADDR:HOSTPORT`.
fn published(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<SocketAddr> {
    let address = match &spot.node.value {
        Value::Number(port) => port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    // One that the kernel chose, nobody would know.
    let address = address.filter(|address: &SocketAddr| address.port() != 0);
    if address.is_none() {
        notes.expected(spot, "a port of the host such as 8080, or \"0.0.0.0:8080\"");
    }
    address
}

fn replicas(fields: &Fields<'_>, notes: &mut Notes<'_>) -> u16 {
    let Some(spot) = fields.field("replicas") else { return 1 };
    let replicas = match &spot.node.value {
        Value::Number(text) => text.parse().ok().filter(|replicas| *replicas <= MAX_REPLICAS),
        _ => None,
    };
    replicas.unwrap_or_else(|| {
        notes.expected(&spot, &format!("a number of 0 to {MAX_REPLICAS}"));
        1
    })
}

fn restart(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Restart {
    let Some(spot) = fields.field("restart") else { return Restart::default() };
    match spot.node.text() {
        Some("Always") => Restart::Always,
        Some("OnFailure") => Restart::OnFailure,
        Some("Never") => Restart::Never,
        _ => {
            notes.expected(&spot, "Always, OnFailure or Never");
            Restart::default()
        }
    }
}

/// What may be declared to be spoken, as Istio and Kubernetes write it.
pub const APP_PROTOCOLS: [&str; 11] =
    ["http", "http2", "h2c", "kubernetes.io/h2c", "grpc", "tcp", "tls", "https", "mysql", "mongo", "redis"];
const PORT_FIELDS: &[&str] = &["name", "port", "appProtocol", "publish"];
pub(crate) const FIELDS: &[&str] =
    &["command", "workingDir", "env", "ports", "forward", "replicas", "restart", "readiness", "serviceAccount", "user"];
/// A replica's name has `-` and five characters more, and is a label as well.
const MAX_NAME_BYTES: usize = 57;
/// One machine runs a hundred or so; this is a slip's bound.
const MAX_REPLICAS: u16 = 256;

#[cfg(test)]
mod tests;
