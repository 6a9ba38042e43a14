//! Peer authentication: which mode governs each port of a workload (istio-semantics, A1 to A6).

use std::collections::BTreeMap;

use weft_mesh::record::{MtlsMode, Origin, PeerAuthentication, Scoped};
use weft_resources as written;
use weft_resources::{Problem, Severity};

use crate::reach::{Reach, origin, reference};

/// Every `PeerAuthentication` that can govern a workload, the one that counts in a scope first.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    level: Level,
    reach: Reach,
    mode: Option<MtlsMode>,
    ports: BTreeMap<u16, MtlsMode>,
    origin: Origin,
    age: Age,
    /// Whether its source was not understood. It then demands mutual TLS, before any other in its
    /// scope.
    broken: bool,
}

/// How wide a scope is; the narrowest that says something wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Mesh,
    Namespace,
    Workload,
}

/// The older resource counts. Files without a time follow in the order of their names and lines.
type Age = (bool, Option<String>, String, u32);

impl Peers {
    /// Takes a resource in. `duplicate` says that it stands elsewhere already: it is broken.
    pub(crate) fn add(
        &mut self,
        written: &written::PeerAuthentication,
        duplicate: Option<String>,
        root_namespace: &str,
        problems: &mut Vec<Problem>,
    ) {
        let broken = written.defect.is_some() || duplicate.is_some();
        let Some((level, reach)) = scope(written, root_namespace) else {
            let message = "expected no selector in the root namespace, found one: without effect";
            let field = Some("spec.selector".to_owned());
            return problems.push(Problem { field, ..problem(written, Severity::Warning, message.to_owned()) });
        };
        let (mode, ports) = if broken {
            let message =
                format!("expected a policy that is understood: until then, for {reach}, only mutual TLS is taken");
            problems.push(problem(written, Severity::Warning, message));
            (Some(MtlsMode::Strict), BTreeMap::new())
        } else {
            (written.mode, written.ports.clone())
        };
        let meta = &written.meta;
        let age = (meta.created.is_none(), meta.created.clone(), meta.file.clone(), meta.line);
        let peer = Peer { level, reach, mode, ports, origin: origin(meta), age, broken };
        // Of a broken one it is told already what it closes.
        let rivals = |other: &&Peer| other.level == level && other.reach == peer.reach && !(broken && other.broken);
        if let Some(other) = self.peers.iter().find(rivals) {
            problems.push(second(written, &peer, other));
        }
        let at = self.peers.partition_point(|other| (!other.broken, &other.age) <= (!peer.broken, &peer.age));
        self.peers.insert(at, peer);
    }

    /// What governs a workload.
    pub(crate) fn of(&self, namespace: &str, labels: &BTreeMap<String, String>) -> PeerAuthentication {
        let at = |level| self.peers.iter().find(|peer| peer.level == level && peer.reach.includes(namespace, labels));
        let workload = at(Level::Workload);
        let narrow_to_wide = [workload, at(Level::Namespace), at(Level::Mesh)];
        let says = |peer: Option<&Peer>| peer.and_then(|peer| Some(peer.scoped(peer.mode?)));
        let default = narrow_to_wide.into_iter().find_map(says).unwrap_or_default();
        let ports = workload.map(|peer| peer.ports.iter().map(|(port, mode)| (*port, peer.scoped(*mode))).collect());
        PeerAuthentication { default, ports: ports.unwrap_or_default() }
    }
}

impl Peer {
    fn scoped(&self, mode: MtlsMode) -> Scoped {
        Scoped { mode, origin: Some(self.origin.clone()) }
    }
}

/// The scope that a resource governs, or may govern when its namespace or selector can't be told;
/// `None`: none (A2).
fn scope(written: &written::PeerAuthentication, root_namespace: &str) -> Option<(Level, Reach)> {
    let namespace = written.meta.namespace.as_deref();
    let selector = written.selector.as_ref();
    let selects_some = selector.is_some_and(|selector| !selector.is_empty());
    if namespace == Some(root_namespace) {
        return (!selects_some).then(|| (Level::Mesh, Reach::new(None, None)));
    }
    let unsure = selector.is_none() || namespace.is_none();
    let level = if selects_some || unsure { Level::Workload } else { Level::Namespace };
    Some((level, Reach::new(namespace, selector)))
}

/// Of two in one scope the older counts whole (A5).
fn second(written: &written::PeerAuthentication, peer: &Peer, other: &Peer) -> Problem {
    let first = (!other.broken, &other.age) <= (!peer.broken, &peer.age);
    let Origin { namespace, name, file, line } = &other.origin;
    let which = if first { "that one counts" } else { "this one counts" };
    let reach = &peer.reach;
    let message =
        format!("expected one PeerAuthentication for {reach}, found {namespace}/{name} too ({file}:{line}): {which}");
    problem(written, Severity::Warning, message)
}

fn problem(written: &written::PeerAuthentication, severity: Severity, message: String) -> Problem {
    let resource = reference("PeerAuthentication", &written.meta);
    Problem {
        severity,
        file: written.meta.file.clone(),
        line: written.meta.line,
        column: 0,
        field: None,
        resource: Some(resource),
        message,
    }
}
