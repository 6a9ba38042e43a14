//! A team's expectations: `CASES.yaml`, whose form stands in `weft authz test --help`.
//!
//! Pure: bytes in, cases or every mistake out. A file with a mistake gives no case at all, for a
//! check that is only half run must not pass.

mod spot;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weft_mesh::decide::Decision;
use weft_mesh::{SpiffeId, WorkloadId};
use weft_resources::{DEFAULT_NAMESPACE, Problem, parse_value};

use super::question::{Question, Request};
use crate::args::{Protocol, Target, UNNAMED, request as http};
use spot::{Notes, Spot, field};

/// An expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// What it is called.
    pub(super) name: String,
    /// Its line in the file, from 1.
    pub(super) line: u32,
    /// Who is called.
    pub(super) to: Target,
    /// The call.
    pub(super) question: Question,
    /// What should become of it.
    pub(super) expect: Decision,
}

/// Reads a file of cases. `file` is its name for messages.
///
/// # Errors
/// Every mistake in it.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Case>, Vec<Problem>> {
    let root = parse_value(file, bytes).map_err(|problem| vec![*problem])?;
    let mut notes = Notes::new(file);
    let cases = read(&Spot::root(&root), &mut notes);
    let mut problems = notes.problems;
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

fn read(root: &Spot<'_>, notes: &mut Notes<'_>) -> Vec<Case> {
    let Some(fields) = root.fields(&["cases", "source"], notes) else { return Vec::new() };
    let Some(list) = field(&fields, "cases") else {
        notes.error(root, "expected a list of cases, found none".to_owned());
        return Vec::new();
    };
    let items = list.items(notes).unwrap_or_default();
    if items.is_empty() && notes.problems.is_empty() {
        notes.error(list, "expected at least one case, found none".to_owned());
    }
    items.iter().filter_map(|item| case(item, notes)).collect()
}

fn case(item: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Case> {
    let fields = item.fields(&["name", "source", "from", "to", "request", "expect"], notes)?;
    let name = match field(&fields, "name") {
        Some(spot) => spot.text(notes).map(str::to_owned),
        None => Some(item.path.clone()),
    };
    let from = field(&fields, "from").map_or(Some((None, LOOPBACK)), |spot| from(spot, notes));
    let to = required(&fields, "to", item, notes).and_then(|spot| to(spot, notes));
    let request = field(&fields, "request").map_or(Some(None), |spot| request(spot, notes).map(Some));
    let expect = required(&fields, "expect", item, notes).and_then(|spot| spot.parsed(notes, decision));
    let ((caller, source_ip), (to, port, protocol), request) = (from?, to?, request?);
    let question = Question { caller, source_ip, port, sni: None, protocol: Some(protocol), request };
    Some(Case { name: name?, line: item.node.at.line, to, question, expect: expect? })
}

fn required<'f, 'n>(
    fields: &'f [(&'n str, Spot<'n>)],
    name: &str,
    item: &Spot<'_>,
    notes: &mut Notes<'_>,
) -> Option<&'f Spot<'n>> {
    let found = field(fields, name);
    if found.is_none() {
        let missing = Spot { path: format!("{}.{name}", item.path), ..item.clone() };
        notes.error(&missing, "expected this key, found none".to_owned());
    }
    found
}

fn from(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<(Option<SpiffeId>, IpAddr)> {
    let fields = spot.fields(&["principal", "ip"], notes)?;
    let identity = |text: &str| SpiffeId::parse_lenient(text).map_err(|error| error.to_string());
    let address = |text: &str| text.parse().map_err(|_| format!("expected an IP address, found {text:?}"));
    let principal = field(&fields, "principal").map_or(Some(None), |spot| spot.parsed(notes, identity).map(Some));
    let ip = field(&fields, "ip").map_or(Some(LOOPBACK), |spot| spot.parsed(notes, address));
    Some((principal?, ip?))
}

fn to(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<(Target, u16, Protocol)> {
    let fields = spot.fields(&["namespace", "labels", "port", "protocol"], notes)?;
    let namespace = match field(&fields, "namespace") {
        Some(spot) => spot.parsed(notes, namespace),
        None => Some(DEFAULT_NAMESPACE.to_owned()),
    };
    let labels = field(&fields, "labels").map_or_else(|| Some(BTreeMap::new()), |spot| labels(spot, notes));
    let port = field(&fields, "port").map_or(Some(HTTP_PORT), |spot| spot.port(notes));
    let protocol = match field(&fields, "protocol") {
        Some(spot) => spot.parsed(notes, protocol),
        None => Some(Protocol::default()),
    };
    Some((Target { namespace: namespace?, labels: labels? }, port?, protocol?))
}

fn labels(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<BTreeMap<String, String>> {
    let entries = spot.entries(notes)?;
    let label = |(key, spot): &(&str, Spot<'_>)| Some(((*key).to_owned(), spot.text(notes)?.to_owned()));
    Some(entries.iter().filter_map(label).collect())
}

fn request(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Request> {
    let fields = spot.fields(&["method", "path", "host", "headers"], notes)?;
    let mut part = |name, parse: fn(&str) -> Result<String, String>| {
        field(&fields, name).and_then(|spot| spot.parsed(notes, parse))
    };
    let (method, target, host) = (part("method", http::method), part("path", http::target), part("host", http::host));
    let headers = field(&fields, "headers").map_or_else(Vec::new, |spot| headers(spot, notes));
    Some(Request { method, target, host, headers })
}

/// Header fields; a list of values is a field that is sent more than once.
fn headers(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, spot) in spot.entries(notes).unwrap_or_default() {
        if let Err(message) = http::header_name(name) {
            notes.error(&spot, message);
            continue;
        }
        let values = match spot.node.value {
            weft_resources::Value::List(_) => spot.items(notes).unwrap_or_default(),
            _ => vec![spot],
        };
        for value in values {
            let value = value.parsed(notes, http::header_value);
            headers.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    headers
}

fn namespace(text: &str) -> Result<String, String> {
    match WorkloadId::new(text, UNNAMED) {
        Ok(_) if !text.contains('/') => Ok(text.to_owned()),
        _ => Err(format!("expected a namespace, found {text:?}")),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http" => Ok(Protocol::Http),
        "grpc" => Ok(Protocol::Grpc),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err(format!("expected http, grpc or tcp, found {text:?}")),
    }
}

fn decision(text: &str) -> Result<Decision, String> {
    match text {
        "allow" => Ok(Decision::Allow),
        "deny" => Ok(Decision::Deny),
        _ => Err(format!("expected allow or deny, found {text:?}")),
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HTTP_PORT: u16 = 80;

#[cfg(test)]
mod tests;
