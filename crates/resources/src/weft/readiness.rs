//! `readiness` of a `Workload`, in the words of Kubernetes's probes.

use super::value::{number, words};
use crate::notes::{Fields, Notes, Spot};
use crate::yaml::Value;

/// How it is known that a program can be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Readiness {
    /// What is asked.
    pub probe: Probe,
    /// How often, and what answers count.
    pub timing: ProbeTiming,
}

/// When a probe is made and what its answers mean, as Kubernetes names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeTiming {
    /// Seconds from the program's start to the first question.
    pub initial_delay_seconds: u16,
    /// Seconds between two questions.
    pub period_seconds: u16,
    /// Seconds that an answer may take.
    pub timeout_seconds: u16,
    /// Good answers in a row that make it ready.
    pub success_threshold: u16,
    /// Bad answers in a row that make it unready.
    pub failure_threshold: u16,
}

impl Default for ProbeTiming {
    /// Kubernetes's, but for the period, which is 10 s there: here nobody asks across a network.
    fn default() -> Self {
        Self {
            initial_delay_seconds: 0,
            period_seconds: 1,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// What shows that a program can be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
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
    let fields = spot.fields(&[KINDS, TIMES].concat(), notes)?;
    let timing = timing(&fields, notes);
    let found: Vec<(&str, Spot<'_>)> = KINDS.iter().filter_map(|kind| Some((*kind, fields.field(kind)?))).collect();
    let [(kind, inner)] = found.as_slice() else {
        notes.expected(spot, "one of tcpSocket, httpGet and exec");
        return None;
    };
    let probe = match *kind {
        "exec" => command(inner, notes).map(Probe::Exec),
        "httpGet" => http(inner, notes),
        _ => port(inner, &["port"], notes).map(Probe::Port),
    };
    Some(Readiness { probe: probe?, timing })
}

fn timing(fields: &Fields<'_>, notes: &mut Notes<'_>) -> ProbeTiming {
    let usual = ProbeTiming::default();
    let mut read = |name: &str, least: u16, usual: u16| {
        let Some(spot) = fields.field(name) else { return usual };
        let found = match &spot.node.value {
            Value::Number(text) => text.parse().ok().filter(|number| (least..=MAX_TIMING).contains(number)),
            _ => None,
        };
        found.unwrap_or_else(|| {
            notes.expected(&spot, &format!("a number of {least} to {MAX_TIMING}"));
            usual
        })
    };
    ProbeTiming {
        initial_delay_seconds: read("initialDelaySeconds", 0, usual.initial_delay_seconds),
        period_seconds: read("periodSeconds", 1, usual.period_seconds),
        timeout_seconds: read("timeoutSeconds", 1, usual.timeout_seconds),
        success_threshold: read("successThreshold", 1, usual.success_threshold),
        failure_threshold: read("failureThreshold", 1, usual.failure_threshold),
    }
}

fn command(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    words(&spot.only_child("command", &[], notes)?, notes)
}

fn http(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Probe> {
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
    Some(Probe::Http { port, path: path.to_owned() })
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
const TIMES: &[&str] =
    &["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"];
/// An hour, which is long for a probe.
const MAX_TIMING: u16 = 3600;
