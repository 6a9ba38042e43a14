//! `readiness` of a `Workload`, in the words of Kubernetes's probes.

use super::workload::{number, words};
use crate::notes::{Notes, Spot};

/// What shows that a program can be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// `tcpSocket`: it accepts connections at this port.
    Port(u16),
    /// `httpGet`: it answers a GET with a status of 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, which begins with `/`.
        path: String,
    },
    /// `exec`: this command, run beside it, ends with 0.
    Exec(Vec<String>),
}

/// Reads it. `None` after something was noted.
pub(crate) fn read(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Readiness> {
    let fields = spot.fields(KINDS, notes)?;
    let found: Vec<(&str, Spot<'_>)> = KINDS.iter().filter_map(|kind| Some((*kind, fields.field(kind)?))).collect();
    let [(kind, inner)] = found.as_slice() else {
        notes.expected(spot, "one of tcpSocket, httpGet and exec");
        return None;
    };
    match *kind {
        "exec" => command(inner, notes).map(Readiness::Exec),
        "httpGet" => http(inner, notes),
        _ => port(inner, &["port"], notes).map(Readiness::Port),
    }
}

fn command(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    words(&spot.only_child("command", &[], notes)?, notes)
}

fn http(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Readiness> {
    let port = port(spot, &["port", "path"], notes)?;
    let path = spot.entries(notes)?.field("path");
    let path = match &path {
        None => "/",
        Some(path) => {
            let text = path.text(notes)?;
            if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                notes.expected(path, "a path such as /healthz");
                return None;
            }
            text
        }
    };
    Some(Readiness::Http { port, path: path.to_owned() })
}

fn port(spot: &Spot<'_>, known: &[&str], notes: &mut Notes<'_>) -> Option<u16> {
    match spot.fields(known, notes)?.field("port") {
        Some(port) => number(&port, notes),
        None => {
            notes.expected(spot, "a mapping with a port");
            None
        }
    }
}

const KINDS: &[&str] = &["tcpSocket", "httpGet", "exec"];
