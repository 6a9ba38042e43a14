//! The resources of a document that have pods, where their templates are, and what becomes of them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::edit::{Change, Kind};
use super::report::{Outcome, Report, Warning};
use super::sidecar::Template;
use super::tree::Node;
use super::{Annotations, ManifestError, tree};
use crate::inject::{
    self, Config, INJECT_ANNOTATIONS, LINKERD_INJECT, Level, Marks, NamespaceMarks, Settings, Verdict, decide,
    is_other_sidecar, keeps_out,
};

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
        Report { kind: self.kind.to_lowercase(), name: self.name.to_owned(), outcome, warnings, remarks: Vec::new() }
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
        wanted.extend(settings(annotations, *target));
        if wanted.is_empty() {
            return Ok((Vec::new(), self.report(Outcome::Skipped, Vec::new())));
        }
        let report = self.judged(node, *target)?;
        match report.outcome {
            Outcome::Skipped => Ok((Vec::new(), report)),
            _ => Ok((annotate(self.document, node, path, &wanted), report)),
        }
    }

    /// With the sidecar itself. Namespaces stay as they are: their other pods aren't meant.
    pub(super) fn render(
        &self,
        text: &str,
        annotations: &Annotations,
        config: &Config,
    ) -> Result<(Vec<Change>, Report), ManifestError> {
        match &self.target {
            Some((node, path, Target::Pods)) => {
                let mut report = self.judged(node, Target::Pods)?;
                if report.outcome == Outcome::Skipped {
                    return Ok((Vec::new(), report));
                }
                let pod = self.pod(text, node, annotations)?;
                let settings = self.settings(text, &pod, config)?;
                report.remarks.clone_from(&settings.remarks);
                let template = Template { text, document: self.document, node, path };
                Ok((template.with_sidecar(pod, &settings, config), report))
            }
            Some((_, _, Target::Service)) => self.inject(annotations),
            _ => Ok((Vec::new(), self.report(Outcome::Skipped, Vec::new()))),
        }
    }

    /// What becomes of it.
    fn judged(&self, node: &Node, target: Target) -> Result<Report, ManifestError> {
        let warnings: Vec<Warning> = match target {
            Target::Pods => warnings(node).into_iter().chain(switch(node, Level::Pod)).collect(),
            Target::Namespace => switch(node, Level::Namespace).into_iter().collect(),
            Target::Service => Vec::new(),
        };
        let outcome = match target {
            _ if warnings.iter().any(|it| matches!(it, Warning::Disabled | Warning::KeptOut)) => Outcome::Skipped,
            Target::Service | Target::Namespace => Outcome::Annotated,
            Target::Pods => Outcome::Injected,
        };
        let report = self.report(outcome, warnings);
        match report.warnings.iter().find_map(|warning| warning.prevents()) {
            Some(reason) if outcome != Outcome::Skipped => Err(self.unfit(reason)),
            _ => Ok(report),
        }
    }

    fn unfit(&self, reason: impl ToString) -> ManifestError {
        ManifestError::Unfit { what: self.report(Outcome::Skipped, Vec::new()).what(), reason: reason.to_string() }
    }

    /// What its template says, with the settings that are asked for.
    fn pod(&self, text: &str, node: &Node, annotations: &Annotations) -> Result<Value, ManifestError> {
        let what = || self.report(Outcome::Skipped, Vec::new()).what();
        let form = || ManifestError::Form { line: tree::line(text, self.place()), what: what() };
        let mut pod = node.value().filter(Value::is_object).ok_or_else(form)?;
        let ingress = annotations.ingress.then_some((LINKERD_INJECT, "ingress"));
        for (key, value) in settings(annotations, Target::Pods).into_iter().chain(ingress) {
            pod["metadata"]["annotations"][key] = Value::from(value);
        }
        Ok(pod)
    }

    /// How its pods are injected, as the injector would say of a namespace that asks for it.
    fn settings(&self, text: &str, pod: &Value, config: &Config) -> Result<Settings, ManifestError> {
        let wrong = |error: serde_json::Error| ManifestError::Template {
            line: tree::line(text, self.place()),
            what: self.report(Outcome::Skipped, Vec::new()).what(),
            why: error.to_string(),
        };
        let typed = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let typed: Pod = serde_json::from_value(typed).map_err(wrong)?;
        let namespace = self.root.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::text);
        let mut marks = Marks::default();
        marks.annotations.insert(LINKERD_INJECT.to_owned(), "enabled".to_owned());
        let namespace = NamespaceMarks { name: namespace.unwrap_or("default").to_owned(), marks };
        match decide(&namespace, &typed, &config.namespace) {
            Verdict::Inject(settings) => Ok(*settings),
            Verdict::Skip(reasons) => {
                Err(self.unfit(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
            }
        }
    }

    /// Without a sidecar that was written into it.
    pub(super) fn strip(&self, text: &str) -> (Vec<Change>, Report) {
        self.without(text, &[])
    }

    pub(super) fn uninject(&self, text: &str) -> (Vec<Change>, Report) {
        // Nobody injected a pod that wants out, and without the word it might be.
        let node = self.target.as_ref().map(|(node, ..)| *node);
        let is_switch = |key: &&str| node.and_then(|node| annotation(node, key)) != Some("disabled");
        self.without(text, &INJECT_ANNOTATIONS.into_iter().filter(is_switch).collect::<Vec<_>>())
    }

    fn without(&self, text: &str, marks: &[&str]) -> (Vec<Change>, Report) {
        let Some((node, path, target)) = &self.target else {
            return (Vec::new(), self.report(Outcome::Skipped, Vec::new()));
        };
        let changes = Template { text, document: self.document, node, path }.without_sidecar(marks);
        let restores = changes.iter().any(|change| matches!(change.kind, Kind::Restore(_)));
        let lost = *target == Target::Pods && !changes.is_empty() && !restores && leads_to_proxy(node);
        let outcome = if changes.is_empty() { Outcome::Skipped } else { Outcome::Uninjected };
        (changes, self.report(outcome, if lost { vec![Warning::Probes] } else { Vec::new() }))
    }
}

/// Whether a probe is one that a proxy makes in the kubelet's stead.
fn leads_to_proxy(node: &Node) -> bool {
    let is_path = |node: &Node| node.text().is_some_and(|text| text.starts_with(inject::PROBES_PATH));
    node.items().iter().any(leads_to_proxy)
        || node.entries().iter().any(|(key, value)| match key.text() {
            Some("path") => is_path(value),
            _ => leads_to_proxy(value),
        })
}

/// The annotations of settings that a target takes.
fn settings(annotations: &Annotations, target: Target) -> Vec<(&str, &str)> {
    let all = annotations.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    all.filter(|(key, _)| target != Target::Service || *key == OPAQUE_PORTS).collect()
}

fn annotation<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get("metadata")?.get("annotations")?.get(key)?.text()
}

/// The changes that put annotations into an object's metadata.
fn annotate(document: usize, node: &Node, path: &[usize], wanted: &[(&str, &str)]) -> Vec<Change> {
    let put = |node: &Node, path: Vec<usize>, entries: Map<String, Value>| {
        let kind = if node.is_void() { Kind::Fill(entries) } else { Kind::Insert(entries) };
        Change { document, path, kind }
    };
    let one = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), Value::from(*value));
    let all = || Value::from(wanted.iter().map(text).collect::<Map<_, _>>());
    let Some(at) = node.position("metadata") else {
        return vec![put(node, path.to_vec(), one("metadata", one("annotations", all()).into()))];
    };
    let (metadata, path) = (&node.entries()[at].1, [path, &[at]].concat());
    let Some(at) = metadata.position("annotations") else {
        return vec![put(metadata, path, one("annotations", all()))];
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
            let path = [path.as_slice(), &[at]].concat();
            changes.push(Change { document, path, kind: Kind::Set(Value::from(*value)) });
        }
    }
    changes
}

/// Whether it keeps out, whatever is added: both words side by side would come to no proxy.
fn switch(node: &Node, level: Level) -> Option<Warning> {
    if annotation(node, LINKERD_INJECT) == Some("disabled") {
        return Some(Warning::Disabled);
    }
    let texts = |key: &str| {
        let entries =
            node.get("metadata").and_then(|metadata| metadata.get(key)).map(Node::entries).unwrap_or_default();
        let text = |(key, value): &(Node, Node)| Some((key.text()?.to_owned(), value.text()?.to_owned()));
        entries.iter().filter_map(text).collect()
    };
    let mut marks = Marks { labels: texts("labels"), annotations: texts("annotations") };
    marks.annotations.remove(LINKERD_INJECT);
    keeps_out(level, &marks).then_some(Warning::KeptOut)
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
            Self::Disabled | Self::KeptOut | Self::Udp | Self::Probes => None,
        }
    }
}

const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";
