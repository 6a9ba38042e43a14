//! The resources of a document that have pods, where their templates are, and what becomes of them.

use super::edit::{Change, Kind, New};
use super::report::{Outcome, Report};
use super::tree::Node;
use super::{Annotations, ManifestError};
use crate::inject::{INJECT_ANNOTATIONS, LINKERD_INJECT, is_other_sidecar};

/// Something worth knowing about a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Its pods are in their node's network.
    HostNetwork,
    /// Another mesh's sidecar is in its pods.
    Sidecar,
    /// It says that it wants no proxy.
    Disabled,
    /// It has a port of UDP, which stays outside the mesh.
    Udp,
}

/// A resource, and where its pods' metadata belongs.
pub(super) struct Resource<'d> {
    document: usize,
    kind: &'d str,
    name: &'d str,
    /// The object whose `metadata` takes the annotations, the way to it, and what it is.
    target: Option<(&'d Node, Vec<usize>, Target)>,
    root: &'d Node,
}

/// What takes the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A pod or a pod template.
    Pods,
    /// A namespace: its pods follow it.
    Namespace,
    /// A Service, which only has settings.
    Service,
}

/// The resources of a document, those of lists among them.
pub(super) fn find(document: usize, root: &Node) -> Vec<Resource<'_>> {
    if root.is_void() {
        return Vec::new();
    }
    let mut found = Vec::new();
    collect(document, root, Vec::new(), &mut found);
    found
}

fn collect<'d>(document: usize, root: &'d Node, path: Vec<usize>, found: &mut Vec<Resource<'d>>) {
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    // A list holds no list, and the depth of nodes is bounded.
    if kind.ends_with("List")
        && let Some(at) = root.position("items")
    {
        for (number, item) in root.entries()[at].1.items().iter().enumerate() {
            collect(document, item, [path.as_slice(), &[at, number]].concat(), found);
        }
        return;
    }
    let name = root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
    let (way, target): (&[&str], Target) = match kind {
        "Pod" => (&[], Target::Pods),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController" | "Job" => {
            (&["spec", "template"], Target::Pods)
        }
        "CronJob" => (&["spec", "jobTemplate", "spec", "template"], Target::Pods),
        "Namespace" => (&[], Target::Namespace),
        "Service" => (&[], Target::Service),
        _ => {
            found.push(Resource { document, kind, name: name.unwrap_or_default(), target: None, root });
            return;
        }
    };
    let target = walk(root, path, way).map(|(node, path)| (node, path, target));
    found.push(Resource { document, kind, name: name.unwrap_or_default(), target, root });
}

fn walk<'d>(root: &'d Node, mut path: Vec<usize>, way: &[&str]) -> Option<(&'d Node, Vec<usize>)> {
    let mut node = root;
    for key in way {
        let at = node.position(key)?;
        path.push(at);
        node = &node.entries()[at].1;
    }
    Some((node, path))
}

impl Resource<'_> {
    pub(super) fn place(&self) -> usize {
        self.root.start
    }

    fn report(&self, outcome: Outcome, warnings: Vec<Warning>) -> Report {
        Report { kind: self.kind.to_lowercase(), name: self.name.to_owned(), outcome, warnings }
    }

    pub(super) fn inject(&self, annotations: &Annotations) -> Result<(Vec<Change>, Report), ManifestError> {
        let Some((node, path, target)) = &self.target else {
            return Ok((Vec::new(), self.report(Outcome::Skipped, Vec::new())));
        };
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        if *target != Target::Service {
            let already = annotation(node, LINKERD_INJECT).is_some_and(|value| value == "ingress");
            wanted.push((LINKERD_INJECT, if annotations.ingress || already { "ingress" } else { "enabled" }));
        }
        let settings = annotations.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        wanted.extend(settings.filter(|(key, _)| *target != Target::Service || *key == OPAQUE_PORTS));
        let warnings = if *target == Target::Pods { warnings(node) } else { Vec::new() };
        let outcome = match target {
            _ if wanted.is_empty() => Outcome::Skipped,
            _ if warnings.contains(&Warning::Disabled) => Outcome::Skipped,
            Target::Service | Target::Namespace => Outcome::Annotated,
            Target::Pods => Outcome::Injected,
        };
        let report = self.report(outcome, warnings);
        if outcome == Outcome::Skipped {
            return Ok((Vec::new(), report));
        }
        if let Some(reason) = report.warnings.iter().find_map(|warning| warning.prevents()) {
            return Err(ManifestError::Unfit { what: report.what(), reason: reason.to_owned() });
        }
        Ok((annotate(self.document, node, path, &wanted), report))
    }

    pub(super) fn uninject(&self) -> (Vec<Change>, Report) {
        let changes = match &self.target {
            Some((node, path, _)) => unannotate(self.document, node, path),
            None => Vec::new(),
        };
        let outcome = if changes.is_empty() { Outcome::Skipped } else { Outcome::Uninjected };
        (changes, self.report(outcome, Vec::new()))
    }
}

fn annotation<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get("metadata")?.get("annotations")?.get(key)?.text()
}

/// The changes that put annotations into an object's metadata.
fn annotate(document: usize, node: &Node, path: &[usize], wanted: &[(&str, &str)]) -> Vec<Change> {
    let change = |path: Vec<usize>, kind| Change { document, path, kind };
    let put = |node: &Node, path: Vec<usize>, entries| {
        let kind = if node.is_void() { Kind::Fill(entries) } else { Kind::Insert(entries) };
        Change { document, path, kind }
    };
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), New::Text((*value).to_owned()));
    let all = || New::Map(wanted.iter().map(text).collect());
    let Some(at) = node.position("metadata") else {
        let metadata = New::Map(vec![("annotations".to_owned(), all())]);
        return vec![put(node, path.to_vec(), vec![("metadata".to_owned(), metadata)])];
    };
    let (metadata, path) = (&node.entries()[at].1, [path, &[at]].concat());
    let Some(at) = metadata.position("annotations") else {
        return vec![put(metadata, path, vec![("annotations".to_owned(), all())])];
    };
    let (annotations, path) = (&metadata.entries()[at].1, [path.as_slice(), &[at]].concat());
    let mut changes = Vec::new();
    let (present, absent): (Vec<_>, Vec<_>) = wanted.iter().partition(|(key, _)| annotations.position(key).is_some());
    if !absent.is_empty() {
        changes.push(put(annotations, path.clone(), absent.into_iter().map(text).collect()));
    }
    for (key, value) in present {
        let Some(at) = annotations.position(key) else { continue };
        if annotations.entries()[at].1.text() != Some(value) {
            changes.push(change([path.as_slice(), &[at]].concat(), Kind::Set((*value).to_owned())));
        }
    }
    changes
}

/// The changes that take the switch of injection out of an object's metadata; an annotation map,
/// and metadata, that would be empty then goes with it.
fn unannotate(document: usize, node: &Node, path: &[usize]) -> Vec<Change> {
    let remove = |path: Vec<usize>, indexes| vec![Change { document, path, kind: Kind::Remove(indexes) }];
    let Some(at) = node.position("metadata") else { return Vec::new() };
    let (metadata, metadata_path) = (&node.entries()[at].1, [path, &[at]].concat());
    let Some(within) = metadata.position("annotations") else { return Vec::new() };
    let annotations = &metadata.entries()[within].1;
    let found: Vec<usize> = INJECT_ANNOTATIONS.iter().filter_map(|key| annotations.position(key)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    if found.len() < annotations.entries().len() {
        return remove([metadata_path.as_slice(), &[within]].concat(), found);
    }
    if metadata.entries().len() > 1 {
        return remove(metadata_path, vec![within]);
    }
    remove(path.to_vec(), vec![at])
}

fn warnings(node: &Node) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let spec = node.get("spec");
    let is_true = |node: &Node| node.text() == Some("true");
    if spec.and_then(|spec| spec.get("hostNetwork")).is_some_and(is_true) {
        warnings.push(Warning::HostNetwork);
    }
    let lists = ["initContainers", "containers"].map(|list| spec.and_then(|spec| spec.get(list)));
    let containers: Vec<&Node> = lists.into_iter().flatten().flat_map(Node::items).collect();
    let text = |container: &Node, key: &str| container.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    if containers.iter().any(|it| is_other_sidecar(&text(it, "name"), &text(it, "image"))) {
        warnings.push(Warning::Sidecar);
    }
    let disabled = INJECT_ANNOTATIONS.iter().any(|key| annotation(node, key) == Some("disabled"));
    if disabled {
        warnings.push(Warning::Disabled);
    }
    let ports = containers.iter().filter_map(|it| it.get("ports")).flat_map(Node::items);
    if ports.into_iter().any(|port| port.get("protocol").and_then(Node::text) == Some("UDP")) {
        warnings.push(Warning::Udp);
    }
    warnings
}

impl Warning {
    /// Why nothing can be injected, where that is so.
    fn prevents(self) -> Option<&'static str> {
        match self {
            Self::HostNetwork => Some("hostNetwork is enabled"),
            Self::Sidecar => Some("a sidecar is there already"),
            Self::Disabled | Self::Udp => None,
        }
    }
}

const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";
