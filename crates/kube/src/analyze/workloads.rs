//! Pods, and templates of pods: whether they have the proxies that they should have, and whether what
//! is written on them has an effect.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Code, Message, Object, Subject};
use crate::inject::{Candidate, NamespaceMarks, PROXY_VERSION, Verdict, decide, has_proxy};
use crate::names::PROXY_CONTAINER;
use crate::words::few;

/// What runs, or would with its template applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workload<'o> {
    pub(super) namespace: &'o str,
    pub(super) labels: BTreeMap<&'o str, &'o str>,
    object: &'o Object,
    pod: &'o Value,
}

impl Workload<'_> {
    /// Whether it is a pod of the cluster.
    pub(super) fn runs(&self) -> bool {
        self.object.kind() == "Pod" && self.object.reference.is_empty()
    }

    /// Whether a proxy of the mesh stands in it.
    pub(super) fn has_proxy(&self) -> bool {
        has_proxy(self.pod)
    }
}

/// Every pod that hasn't ended, and every template of pods.
pub(super) fn workloads<'o>(objects: &[&'o Object]) -> Vec<Workload<'o>> {
    let workload = |object: &&'o Object| {
        let object: &'o Object = object;
        let pod = match object.kind() {
            "Pod" => match object.value["status"]["phase"].as_str() {
                Some("Succeeded" | "Failed") => return None,
                _ => &object.value,
            },
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => &object.value["spec"]["template"],
            "CronJob" => &object.value["spec"]["jobTemplate"]["spec"]["template"],
            _ => return None,
        };
        let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
        Some(Workload { namespace: object.namespace(), labels, object, pod })
    };
    objects.iter().filter_map(workload).collect()
}

pub(super) fn check(objects: &[&Object], subject: &Subject, messages: &mut Vec<Message>) {
    let namespaces: BTreeMap<&str, NamespaceMarks> = objects
        .iter()
        .filter(|object| object.kind() == "Namespace")
        .map(|object| (object.name(), NamespaceMarks::of(&metadata(object))))
        .collect();
    for workload in workloads(objects) {
        messages.extend(ineffective(&workload, &namespaces, &subject.control_namespace));
        messages.extend(proxys_user(&workload));
        messages.extend(automatic_image(&workload));
    }
    messages.extend(objects.iter().flat_map(|object| misplaced(object)));
    if let Some(version) = &subject.proxy_version {
        messages.extend(other_versions(objects, version));
    }
    let missing = |object: &&Object| without_proxy(object, &namespaces, &subject.control_namespace);
    messages.extend(objects.iter().filter_map(missing));
}

/// A running pod of a namespace that asks for proxies. A pod of a file gets its own when it is made.
fn without_proxy(
    object: &Object,
    namespaces: &BTreeMap<&str, NamespaceMarks>,
    control_namespace: &str,
) -> Option<Message> {
    if object.kind() != "Pod" || !object.reference.is_empty() {
        return None;
    }
    let pod = serde_json::from_value::<Pod>(object.value.clone()).ok()?;
    let namespace = namespaces.get(object.namespace())?;
    let text = "its namespace asks for proxies and it has none, so that it isn't in the mesh: restart it, with kubectl \
                rollout restart of what made it";
    let lacks = Candidate::of(&pod).is_some_and(|pod| pod.lacks_proxy(namespace, control_namespace));
    lacks.then(|| Message::new(Code::PodMissingProxy, object, text))
}

/// Annotations of a template, or of a pod that nobody made from one, that change nothing.
fn ineffective(
    workload: &Workload<'_>,
    namespaces: &BTreeMap<&str, NamespaceMarks>,
    control_namespace: &str,
) -> Vec<Message> {
    let is_made = workload.pod["metadata"]["ownerReferences"].is_array();
    let pod = serde_json::from_value::<Pod>(serde_json::json!({
        "metadata": workload.pod["metadata"], "spec": workload.pod["spec"],
    }));
    let (Ok(pod), false) = (pod, is_made) else { return Vec::new() };
    let meshed = NamespaceMarks {
        name: workload.namespace.to_owned(),
        marks: namespaces.get(workload.namespace).map(|found| found.marks.clone()).unwrap_or_default(),
    };
    let Verdict::Inject(settings) = decide(&meshed, &pod, control_namespace) else { return Vec::new() };
    let code = |remark: &str| match remark.contains("no such annotation is known") {
        true => Code::UnknownAnnotation,
        false => Code::InvalidAnnotation,
    };
    settings.remarks.iter().map(|remark| Message::new(code(remark), workload.object, remark.as_str())).collect()
}

/// What only a pod or a namespace can say, on something else.
fn misplaced(object: &Object) -> Vec<Message> {
    let has_template = matches!(object.kind(), "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job");
    let is_about_pods =
        |key: &str| PODS_ALONE.contains(&key) || has_template && PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    if !has_template && object.kind() != "Service" {
        return Vec::new();
    }
    let found = object.marks("annotations").filter(|(key, _)| is_about_pods(key));
    let message = |(key, _): (&str, &str)| {
        let text = format!("the annotation {key} is read on pods and namespaces alone: write it under spec.template");
        Message::new(Code::MisplacedAnnotation, object, text)
    };
    found.map(message).collect()
}

/// Containers whose calls are taken for the proxy's own. The injector gives a proxy a user that no container has;
/// one that was written by hand may have any.
fn proxys_user(workload: &Workload<'_>) -> Vec<Message> {
    let spec = &workload.pod["spec"];
    let own = spec["initContainers"].as_array().into_iter().flatten().find(|it| it["name"] == PROXY_CONTAINER);
    let Some(proxys) = own.and_then(|proxy| proxy["securityContext"]["runAsUser"].as_u64()) else { return Vec::new() };
    let usual = spec["securityContext"]["runAsUser"].as_u64();
    let containers = spec["containers"].as_array().into_iter().chain(spec["initContainers"].as_array()).flatten();
    let others = containers.filter(|container| container["name"] != PROXY_CONTAINER);
    let user = |container: &Value| container["securityContext"]["runAsUser"].as_u64().or(usual);
    let message = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        let text = format!("the container {name} runs as the proxy's user {proxys}: its calls pass the mesh by");
        Message::new(Code::InvalidApplicationUid, workload.object, text)
    };
    others.filter(|container| user(container) == Some(proxys)).map(message).collect()
}

/// Istio's injector puts its own image in place of `auto`; Weft's has none for programs.
fn automatic_image(workload: &Workload<'_>) -> Vec<Message> {
    let code = match workload.object.kind() {
        "Pod" => Code::ImageAutoWithoutInjectionError,
        _ => Code::ImageAutoWithoutInjectionWarning,
    };
    let containers = workload.pod["spec"]["containers"].as_array().into_iter().flatten();
    let message = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        let text =
            format!("the container {name} has the image auto, which Weft's injector doesn't replace: name an image");
        Message::new(code, workload.object, text)
    };
    containers.filter(|container| container["image"] == "auto").map(message).collect()
}

/// For each namespace its running pods whose proxies are of another version than the injector gives.
fn other_versions(objects: &[&Object], version: &str) -> Vec<Message> {
    let pods = workloads(objects);
    let is_other = |pod: &&Workload<'_>| {
        let given = pod.pod["metadata"]["annotations"][PROXY_VERSION].as_str();
        pod.runs() && pod.has_proxy() && given != Some(version)
    };
    let message = |namespace: &&&Object| {
        let others = pods.iter().filter(|pod| pod.namespace == namespace.name()).filter(is_other);
        let names: Vec<String> = others.map(|pod| pod.object.name().to_owned()).collect();
        let text = format!(
            "the proxies of {} are of another version than {version}, which the injector gives: restart them",
            few(&names)
        );
        (!names.is_empty()).then(|| Message::new(Code::PodsIstioProxyImageMismatchInNamespace, namespace, text))
    };
    objects.iter().filter(|object| object.kind() == "Namespace").filter_map(|object| message(&object)).collect()
}

fn metadata(object: &Object) -> ObjectMeta {
    serde_json::from_value(object.value["metadata"].clone()).unwrap_or_default()
}

const PODS_ALONE: [&str; 3] = ["linkerd.io/inject", "weft.io/inject", "sidecar.istio.io/inject"];
const PREFIXES: [&str; 4] = ["config.linkerd.io/", "sidecar.istio.io/", "traffic.sidecar.istio.io/", "proxy.istio.io/"];
