//! What the mesh keeps of a Pod: who it is, where it is, and whether a proxy stands in it. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use weft_compile::Owner;

use crate::inject::Candidate;
use crate::names::PROXY_CONTAINER;
use crate::ports::NamedPorts;

/// A pod, as far as the mesh looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    /// Seconds since the Unix epoch.
    pub(crate) created: i64,
    pub(crate) service_account: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) place: Place,
    pub(crate) proxy: Proxy,
    pub(crate) word: Word,
    pub(crate) node: Option<String>,
    pub(crate) owner: Option<Owner>,
    /// What its traffic is reported under.
    pub(crate) service: String,
    pub(crate) ports: Vec<Port>,
    /// `config.linkerd.io/opaque-ports`.
    pub(crate) opaque_ports: Option<NamedPorts>,
    /// `config.linkerd.io/default-inbound-policy`, as it is written.
    pub(crate) default_inbound: Option<String>,
    /// What decides whether a proxy is missing in it.
    pub(crate) candidate: Option<Candidate>,
}

/// Where a pod can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Addresses of its own, IPv4 or IPv6 or both; none before it has started.
    Own(Vec<IpAddr>),
    /// Those of its node, which it shares with others.
    Host,
    /// It has ended: what was its address may be another's.
    Gone,
}

/// What a pod says of itself, whatever the node controller says of it (which calls every pod of a
/// silent node unready).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Its containers are ready, and so are its readiness gates.
    Ready,
    /// They aren't, or it is being deleted.
    Unready,
}

/// Whether a proxy stands in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// There is none.
    Absent,
    /// It has yet to listen.
    Starting,
    /// It listens, or will again: it may be on its way back.
    Begun,
}

/// One TCP port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) name: Option<String>,
}

impl Pod {
    /// What is to be kept of a pod.
    pub(crate) fn read(pod: &api::Pod) -> Self {
        let nothing = api::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&nothing);
        let status = pod.status.as_ref();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let owner = owner(&pod.metadata, &labels);
        let annotation = |key: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(key));
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            created: pod.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            place: place(spec, status),
            proxy: proxy(spec, status),
            word: word(&pod.metadata, spec, status),
            node: spec.node_name.clone(),
            service: service(&labels, owner.as_ref(), &pod.metadata),
            labels,
            owner,
            ports: ports(spec),
            opaque_ports: annotation(OPAQUE_PORTS).map(|text| NamedPorts::parse(text)),
            default_inbound: annotation(DEFAULT_INBOUND).cloned(),
            candidate: Candidate::of(pod),
        }
    }

    /// Its own addresses; none where it shares its node's, or has ended.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match &self.place {
            Place::Own(addresses) => addresses,
            Place::Host | Place::Gone => &[],
        }
    }
}

fn place(spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Place {
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return Place::Gone;
    }
    if spec.host_network == Some(true) {
        return Place::Host;
    }
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    Place::Own(all.filter_map(|ip| ip.ip.parse().ok()).collect())
}

fn proxy(spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Proxy {
    let present = spec.init_containers.iter().flatten().any(|container| container.name == PROXY_CONTAINER);
    let statuses = status.and_then(|status| status.init_container_statuses.as_ref());
    let own = statuses.into_iter().flatten().find(|status| status.name == PROXY_CONTAINER);
    let has_begun = own.is_some_and(|status| status.started == Some(true) || status.restart_count > 0);
    match (present, has_begun) {
        (false, _) => Proxy::Absent,
        (true, true) => Proxy::Begun,
        (true, false) => Proxy::Starting,
    }
}

fn word(meta: &ObjectMeta, spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Word {
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let is_true = |kind: &str| {
        conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let gates = spec.readiness_gates.iter().flatten().all(|gate| is_true(&gate.condition_type));
    match meta.deletion_timestamp.is_none() && gates && is_true("ContainersReady") {
        true => Word::Ready,
        false => Word::Unready,
    }
}

/// Who made the pod, as people name it: a ReplicaSet of a Deployment is called by the Deployment.
fn owner(meta: &ObjectMeta, labels: &BTreeMap<String, String>) -> Option<Owner> {
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let hash = labels.get(TEMPLATE_HASH).filter(|_| owner.kind == "ReplicaSet");
    let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    let cron_job = || scheduled(meta, owner).map(|name| ("CronJob", name));
    Some(match deployment.map(|name| ("Deployment", name)).or_else(cron_job) {
        Some((kind, name)) => Owner { kind: kind.to_owned(), name: name.to_owned() },
        None => Owner { kind: owner.kind.clone(), name: owner.name.clone() },
    })
}

/// The CronJob whose Job made the pod. Pods don't say; its Jobs' names end with the minute, counted from
/// the Unix epoch, at which they were due, and that is near the pod's beginning.
fn scheduled<'o>(meta: &ObjectMeta, owner: &'o OwnerReference) -> Option<&'o str> {
    let (name, minute) = owner.name.rsplit_once('-').filter(|_| owner.kind == "Job")?;
    let minute: i64 = minute.parse().ok()?;
    let created = meta.creation_timestamp.as_ref()?.0.as_second() / 60;
    (created - minute).abs().le(&MINUTES_OF_A_WEEK).then_some(name)
}

/// The canonical service, as Istio finds it.
fn service(labels: &BTreeMap<String, String>, owner: Option<&Owner>, meta: &ObjectMeta) -> String {
    let labelled = CANONICAL_NAME.iter().find_map(|key| labels.get(*key).filter(|value| !value.is_empty()));
    labelled.or(owner.map(|owner| &owner.name)).or(meta.name.as_ref()).cloned().unwrap_or_default()
}

/// The TCP ports that the program's containers declare. Native sidecars are containers like others.
fn ports(spec: &api::PodSpec) -> Vec<Port> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| {
            container.restart_policy.as_deref() == Some("Always") && container.name != PROXY_CONTAINER
        });
    let declared = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let tcp = declared.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let read = |port: &api::ContainerPort| {
        Some(Port { number: u16::try_from(port.container_port).ok()?, name: port.name.clone() })
    };
    tcp.filter_map(read).collect()
}

/// The init container whose presence means that a pod is of the mesh.
pub(crate) const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";
pub(crate) const DEFAULT_INBOUND: &str = "config.linkerd.io/default-inbound-policy";
/// A Job that is due waits for its turn, or is tried again for days.
const MINUTES_OF_A_WEEK: i64 = 7 * 24 * 60;
const TEMPLATE_HASH: &str = "pod-template-hash";
const CANONICAL_NAME: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];

#[cfg(test)]
mod tests;
