//! Whether a pod gets a proxy. Both dialects are read; an opt-in in either is enough, a pod's
//! opt-out beats its namespace's opt-in, and what contradicts itself is not injected.
//!
//! Sources: Linkerd's injector (annotation `linkerd.io/inject`), Istio's webhook selectors
//! (labels `istio-injection`, `istio.io/rev`, `sidecar.istio.io/inject`).

use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::annotations;
use super::marks::{ISTIO_INJECT, Marks, NamespaceMarks};
use super::settings::{Mode, Settings};
use crate::names::{NEVER_INJECTED, PROXY_CONTAINER};

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It gets a proxy, with these settings.
    Inject(Box<Settings>),
    /// It doesn't, for these reasons; at least one.
    Skip(Vec<Reason>),
}

/// Decides about a pod that is made in a namespace. `control_namespace` is the control plane's own.
pub fn decide(namespace: &NamespaceMarks, pod: &Pod, control_namespace: &str) -> Verdict {
    let marks = Marks::of(&pod.metadata);
    let mode = match wants(namespace, &marks, control_namespace) {
        Ok(mode) => mode,
        Err(reason) => return Verdict::Skip(vec![reason]),
    };
    let reasons = unfit(pod);
    if !reasons.is_empty() {
        return Verdict::Skip(reasons);
    }
    Verdict::Inject(Box::new(annotations::settings(namespace, &marks, mode)))
}

/// Whether a namespace asks for proxies in its pods: those that are made while the control plane
/// is down must wait for it.
pub fn is_meshed(namespace: &NamespaceMarks, control_namespace: &str) -> bool {
    never(namespace, &Marks::default(), control_namespace).is_none()
        && matches!(namespace_says(&namespace.marks), Said::In(_))
}

/// What all marks of one level say together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Nothing,
    In(Mode),
    Out(Mark),
    Wrong(Reason),
}

/// Whether a pod with these marks should have a proxy, if it can.
pub(super) fn wants(namespace: &NamespaceMarks, pod: &Marks, control_namespace: &str) -> Result<Mode, Reason> {
    match never(namespace, pod, control_namespace) {
        Some(reason) => Err(reason),
        None => asked(namespace_says(&namespace.marks), pod_says(&namespace.marks, pod)),
    }
}

/// Whether what is written at one level keeps pods out, or can't be followed.
pub(crate) fn keeps_out(level: Level, marks: &Marks) -> bool {
    let said = match level {
        Level::Namespace => namespace_says(marks),
        Level::Pod => pod_says(&Marks::default(), marks),
    };
    matches!(said, Said::Out(_) | Said::Wrong(_))
}

/// Whether a key is one that decides about pods.
pub(super) fn is_deciding(key: &str) -> bool {
    const KEYS: [&str; 7] =
        [LINKERD_INJECT, WEFT_INJECT, ISTIO_INJECTION, ISTIO_INJECT, ISTIO_REVISION, WEBHOOKS_LABEL, MIRROR_ANNOTATION];
    KEYS.contains(&key) || CONTROL_PLANE_LABELS.contains(&key)
}

/// The table of precedence.
fn asked(namespace: Said, pod: Said) -> Result<Mode, Reason> {
    match (namespace, pod) {
        (_, Said::Out(mark)) => Err(Reason::OptedOut(mark)),
        (Said::Wrong(reason), _) | (_, Said::Wrong(reason)) => Err(reason),
        (_, Said::In(mode)) | (Said::In(mode), Said::Nothing) => Ok(mode),
        (Said::Out(mark), Said::Nothing) => Err(Reason::OptedOut(mark)),
        (Said::Nothing, Said::Nothing) => Err(Reason::NotAsked),
    }
}

fn namespace_says(marks: &Marks) -> Said {
    let mut votes = shared_votes(Level::Namespace, marks);
    // `istio-injection` beats `istio.io/rev`, whatever it says; a value that is neither says nothing.
    match marks.label(ISTIO_INJECTION) {
        Some("enabled") => votes.push((Say::In, Mark::label(Level::Namespace, ISTIO_INJECTION, "enabled"))),
        Some("disabled") => votes.push((Say::Out, Mark::label(Level::Namespace, ISTIO_INJECTION, "disabled"))),
        Some(_) => {}
        None => {
            let revision = marks.label(ISTIO_REVISION).filter(|value| !value.is_empty());
            votes.extend(revision.map(|value| (Say::In, Mark::label(Level::Namespace, ISTIO_REVISION, value))));
        }
    }
    level(Level::Namespace, votes)
}

fn pod_says(namespace: &Marks, marks: &Marks) -> Said {
    let mut votes = shared_votes(Level::Pod, marks);
    let closed = namespace.label(ISTIO_INJECTION) == Some("disabled");
    let of_label = |value| Mark::label(Level::Pod, ISTIO_INJECT, value);
    match marks.label(ISTIO_INJECT) {
        Some("true") if !closed => votes.push((Say::In, of_label("true"))),
        Some("false") => votes.push((Say::Out, of_label("false"))),
        Some(_) => {}
        None => {
            // The annotation opts out; it opts nobody in whom no label has chosen.
            let out = marks.annotation(ISTIO_INJECT).filter(|value| is_false(value));
            votes.extend(out.map(|value| (Say::Out, Mark::annotation(Level::Pod, ISTIO_INJECT, value))));
            let revision = marks.label(ISTIO_REVISION).filter(|value| !closed && out.is_none() && !value.is_empty());
            votes.extend(revision.map(|value| (Say::In, Mark::label(Level::Pod, ISTIO_REVISION, value))));
        }
    }
    level(Level::Pod, votes)
}

/// `linkerd.io/inject` and `weft.io/inject`, which read alike at both levels.
fn shared_votes(level: Level, marks: &Marks) -> Vec<(Say, Mark)> {
    let found = [
        marks.annotation(LINKERD_INJECT).map(|value| Mark::annotation(level, LINKERD_INJECT, value)),
        marks.annotation(WEFT_INJECT).map(|value| Mark::annotation(level, WEFT_INJECT, value)),
        marks.label(WEFT_INJECT).map(|value| Mark::label(level, WEFT_INJECT, value)),
    ];
    let say = |mark: &Mark| match mark.value.as_str() {
        "enabled" => Say::In,
        "ingress" => Say::Ingress,
        "disabled" => Say::Out,
        _ => Say::Unknown,
    };
    found.into_iter().flatten().map(|mark| (say(&mark), mark)).collect()
}

/// What one mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    In,
    Ingress,
    Out,
    Unknown,
}

fn level(level: Level, votes: Vec<(Say, Mark)>) -> Said {
    let first = |wanted: Say| votes.iter().find(|(say, _)| *say == wanted).map(|(_, mark)| mark.clone());
    if let Some(mark) = first(Say::Unknown) {
        return Said::Wrong(Reason::UnknownValue(mark));
    }
    let ingress = first(Say::Ingress);
    match (first(Say::In).or_else(|| ingress.clone()), first(Say::Out)) {
        (Some(_), Some(_)) => {
            Said::Wrong(Reason::Contradiction(level, votes.into_iter().map(|(_, mark)| mark).collect()))
        }
        (Some(_), None) => Said::In(if ingress.is_some() { Mode::Ingress } else { Mode::Usual }),
        (None, Some(mark)) => Said::Out(mark),
        (None, None) => Said::Nothing,
    }
}

/// What is no one's to inject, whatever it says.
fn never(namespace: &NamespaceMarks, pod: &Marks, control_namespace: &str) -> Option<Reason> {
    let name = namespace.name.as_str();
    if NEVER_INJECTED.contains(&name) || name == control_namespace {
        return Some(Reason::ExcludedNamespace(name.to_owned()));
    }
    if namespace.marks.label(WEBHOOKS_LABEL) == Some("disabled") {
        return Some(Reason::WebhooksDisabled);
    }
    let component = CONTROL_PLANE_LABELS.into_iter().find(|key| pod.label(key).is_some());
    if let Some(key) = component {
        return Some(Reason::ControlPlane(key));
    }
    pod.annotation(MIRROR_ANNOTATION).is_some().then_some(Reason::MirrorPod)
}

/// Why a pod that should get a proxy can't have one.
pub(super) fn unfit(pod: &Pod) -> Vec<Reason> {
    let Some(spec) = &pod.spec else { return vec![Reason::NoSpec] };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let mut reasons = Vec::new();
    if init.iter().any(|container| container.name == PROXY_CONTAINER) {
        reasons.push(Reason::AlreadyInjected);
    }
    if spec.host_network == Some(true) {
        reasons.push(Reason::HostNetwork);
    }
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        reasons.push(Reason::Windows);
    }
    let is_other = |it: &&Container| is_other_sidecar(&it.name, it.image.as_deref().unwrap_or_default());
    if let Some(other) = spec.containers.iter().chain(init).find(is_other) {
        reasons.push(Reason::OtherSidecar(other.name.clone()));
    }
    reasons
}

/// Whether a container is another mesh's, by its name or its image.
pub(crate) fn is_other_sidecar(name: &str, image: &str) -> bool {
    let image = repository(image);
    OTHER_SIDECARS.contains(&name)
        || OTHER_IMAGES.iter().any(|other| image == *other || image.ends_with(&format!("/{other}")))
}

/// An image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    name[slash..].find(':').map_or(name, |at| &name[..slash + at])
}

/// Istio's words for "no" in an annotation.
fn is_false(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "n" | "off")
}

/// Where something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// On the namespace.
    Namespace,
    /// On the pod, which means on the pod template.
    Pod,
}

/// What something is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// A label.
    Label,
    /// An annotation.
    Annotation,
}

/// A label or an annotation that says something about injection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Where it stands.
    pub level: Level,
    /// Label or annotation.
    pub kind: MarkKind,
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

impl Mark {
    fn label(level: Level, key: &'static str, value: &str) -> Self {
        Self { level, kind: MarkKind::Label, key, value: value.to_owned() }
    }

    fn annotation(level: Level, key: &'static str, value: &str) -> Self {
        Self { level, kind: MarkKind::Annotation, key, value: value.to_owned() }
    }
}

/// Why a pod gets no proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nobody asked for one.
    NotAsked,
    /// The pod or its namespace opted out.
    OptedOut(Mark),
    /// A value that isn't known.
    UnknownValue(Mark),
    /// One level says yes and no.
    Contradiction(Level, Vec<Mark>),
    /// The pod is in its node's network, which isn't its own to redirect.
    HostNetwork,
    /// Another mesh's container is in the pod.
    OtherSidecar(String),
    /// It has one.
    AlreadyInjected,
    /// The cluster's own namespaces, and the control plane's.
    ExcludedNamespace(String),
    /// The namespace is labelled `config.linkerd.io/admission-webhooks: disabled`.
    WebhooksDisabled,
    /// Part of another mesh's control plane, by this label.
    ControlPlane(&'static str),
    /// A mirror of a static pod: the kubelet runs the file, whatever the API server holds.
    MirrorPod,
    /// The proxy runs on Linux.
    Windows,
    /// Nothing to inject into.
    NoSpec,
}

impl Reason {
    /// The word of metrics; Linkerd's, where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAsked => "injection_enable_annotation_absent",
            Self::OptedOut(_) => "injection_disable_annotation_present",
            Self::UnknownValue(mark) if mark.level == Level::Namespace => "invalid_inject_annotation_at_ns",
            Self::UnknownValue(_) => "invalid_inject_annotation_at_workload",
            Self::Contradiction(..) => "contradiction",
            Self::HostNetwork => "host_network_enabled",
            Self::OtherSidecar(_) => "sidecar_already_exists",
            Self::AlreadyInjected => "already_injected",
            Self::ExcludedNamespace(_) => "excluded_namespace",
            Self::WebhooksDisabled => "admission_webhooks_disabled",
            Self::ControlPlane(_) => "control_plane_component",
            Self::MirrorPod => "mirror_pod",
            Self::Windows | Self::NoSpec => "unsupported_resource",
        }
    }

    /// Whether somebody may have expected a proxy, so that an event should say why there is none.
    pub fn is_news(&self) -> bool {
        !matches!(
            self,
            Self::NotAsked
                | Self::AlreadyInjected
                | Self::ExcludedNamespace(_)
                | Self::WebhooksDisabled
                | Self::ControlPlane(_)
                | Self::MirrorPod
        )
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "namespace",
            Self::Pod => "pod",
        })
    }
}

impl fmt::Display for Mark {
    /// Such as `the pod's annotation linkerd.io/inject: disabled`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MarkKind::Label => "label",
            MarkKind::Annotation => "annotation",
        };
        write!(f, "the {}'s {kind} {}: {:?}", self.level, self.key, self.value)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("neither pod nor namespace asks for a proxy"),
            Self::OptedOut(mark) => write!(f, "{mark} says no"),
            Self::UnknownValue(mark) => write!(f, "{mark}: expected enabled, ingress or disabled"),
            Self::Contradiction(level, marks) => {
                let marks: Vec<String> = marks.iter().map(|mark| format!("{}: {:?}", mark.key, mark.value)).collect();
                write!(f, "the {level} says both yes and no ({})", marks.join(", "))
            }
            Self::HostNetwork => f.write_str("hostNetwork: true, so its traffic can't be told from its node's"),
            Self::OtherSidecar(name) => write!(f, "another mesh's sidecar is in it, the container {name:?}"),
            Self::AlreadyInjected => f.write_str("it has a proxy already"),
            Self::ExcludedNamespace(name) => write!(f, "pods of the namespace {name:?} never get one"),
            Self::WebhooksDisabled => write!(f, "the namespace's label {WEBHOOKS_LABEL}: disabled"),
            Self::ControlPlane(label) => write!(f, "its label {label} says that it is part of a mesh's control plane"),
            Self::MirrorPod => f.write_str("it mirrors a static pod, which the API server can't change"),
            Self::Windows => f.write_str("os: windows; the proxy runs on Linux"),
            Self::NoSpec => f.write_str("it has no spec"),
        }
    }
}

/// Linkerd's annotation, on namespaces and pods.
pub(crate) const LINKERD_INJECT: &str = "linkerd.io/inject";
/// Weft's, a label or an annotation.
const WEFT_INJECT: &str = "weft.io/inject";
/// The annotations that switch injection on or off.
pub(crate) const INJECT_ANNOTATIONS: [&str; 2] = [LINKERD_INJECT, WEFT_INJECT];
pub(crate) const ISTIO_INJECTION: &str = "istio-injection";
const ISTIO_REVISION: &str = "istio.io/rev";
pub(crate) const WEBHOOKS_LABEL: &str = "config.linkerd.io/admission-webhooks";
pub(crate) const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
pub(crate) const CONTROL_PLANE_LABELS: [&str; 2] = ["linkerd.io/control-plane-component", "linkerd.io/cni-resource"];
pub(crate) const OTHER_SIDECARS: [&str; 4] = ["linkerd-proxy", "linkerd-init", "istio-proxy", "istio-init"];
pub(crate) const OTHER_IMAGES: [&str; 4] =
    ["linkerd/proxy", "linkerd/proxy-init", "istio/proxyv2", "istio-release/proxyv2"];

#[cfg(test)]
mod tests;
