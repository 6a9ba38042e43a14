//! The pods of the mesh: whether those that should have a proxy do, and of which version.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::connected::connected;
use super::control_plane::{name, unread};
use super::observed::{Asked, Observed, Scope};
use super::report::{Finding, Problem, Report};
use crate::inject::{
    Candidate, NamespaceMarks, PROXY_VERSION, SECURITY_KEY, is_meshed as is_in_mesh, refusing_level, version_of,
};
use crate::pods::{is_meshed, is_running, proxy_environment, proxy_is_ready};
use crate::words::few;

/// The pods of the mesh; in the scope of proxies, also whether these serve.
pub(super) fn mesh(seen: &Observed, asked: &Asked, report: &mut Report) {
    let pods = seen.pods.as_deref().unwrap_or_default();
    let meshed: Vec<&Pod> = pods.iter().filter(|pod| is_meshed(pod) && is_running(pod)).collect();
    if asked.scope == Scope::Proxies {
        report.category("weft-identity-data-plane");
        report.check("data plane proxies certificate match CA", Finding::warns_if(anchors(seen, &meshed)));
    }
    report.category("weft-data-plane");
    if let (Some(namespace), Ok(all)) = (&asked.namespace, &seen.namespaces) {
        let exists = all.iter().any(|found| found.metadata.name.as_ref() == Some(namespace));
        let hint = "name one that kubectl get namespaces lists";
        let problem = (!exists).then(|| Problem::new(format!("there is no namespace {namespace}"), hint));
        report.check("data plane namespace exists", Finding::fails_if(problem));
    }
    if let Err(unseen) = &seen.pods {
        return report.check("data plane pods can be listed", Finding::Warns(unread(unseen)));
    }
    if asked.scope == Scope::Proxies {
        report.check("data plane proxies are ready", proxies(&meshed, asked));
        report.check("data plane proxies follow the control plane", connected(seen, &meshed));
    }
    report.check("pods that should have a proxy have one", Finding::warns_if(without_proxy(seen)));
    report.check("meshed namespaces admit the proxy's init container", Finding::warns_if(too_secure(seen)));
    let expected =
        asked.expected_version.clone().unwrap_or_else(|| version_of(&seen.installed_values().images.proxy).to_owned());
    let hint = "restart them: kubectl rollout restart -n NAMESPACE deploy";
    report.check("data plane is up-to-date", Finding::warns_if(versions(seen, &expected, hint)));
    let hint = "use the weft of their version, or weft install | kubectl apply -f - and restart them";
    report.check("data plane and cli versions match", Finding::warns_if(versions(seen, &seen.version, hint)));
    misplaced(seen, report);
    super::ports::opaque(seen, report);
    super::network::addresses(seen, report);
}

/// Pods that the injector would give a proxy if they were made now.
fn without_proxy(seen: &Observed) -> Option<Problem> {
    let namespaces: BTreeMap<String, NamespaceMarks> =
        namespaces(seen).map(|namespace| (namespace.name.clone(), namespace)).collect();
    let lacks = |pod: &&Pod| {
        let namespace = pod.metadata.namespace.as_ref().and_then(|name| namespaces.get(name));
        let candidate = Candidate::of(pod);
        candidate.zip(namespace).is_some_and(|(pod, namespace)| pod.lacks_proxy(namespace, &seen.namespace))
    };
    let names: Vec<String> = seen.pods.iter().flatten().filter(lacks).map(name).collect();
    (!names.is_empty()).then(|| {
        let error = format!("{} run without a proxy, outside of the mesh: {}", names.len(), few(&names));
        Problem::new(error, "restart them: kubectl rollout restart -n NAMESPACE deploy")
    })
}

/// Namespaces in the mesh whose pods would be refused: redirection needs NET_ADMIN in an init container.
fn too_secure(seen: &Observed) -> Option<Problem> {
    let meshed = namespaces(seen).filter(|marks| is_in_mesh(marks, &seen.namespace));
    let wrong: Vec<String> =
        meshed.filter_map(|marks| Some(format!("{} ({})", marks.name, refusing_level(&marks)?))).collect();
    (!wrong.is_empty()).then(|| {
        let error = format!("the Pod Security level refuses weft-init's NET_ADMIN in {}", few(&wrong));
        Problem::new(error, format!("label them {SECURITY_KEY}=privileged"))
    })
}

fn namespaces(seen: &Observed) -> impl Iterator<Item = NamespaceMarks> {
    seen.namespaces.iter().flatten().map(|namespace| NamespaceMarks::of(&namespace.metadata))
}

/// Whether proxies serve.
fn proxies(meshed: &[&Pod], asked: &Asked) -> Finding {
    let waiting: Vec<String> = meshed.iter().filter(|pod| !proxy_is_ready(pod)).map(|pod| name(pod)).collect();
    if !waiting.is_empty() {
        let error = format!("the proxies of {} pods aren't ready: {}", waiting.len(), few(&waiting));
        return Finding::Waits(Problem::new(error, "see why: kubectl logs POD -n NAMESPACE -c weft-proxy"));
    }
    match &asked.namespace {
        Some(namespace) if meshed.is_empty() => Finding::Fails(Problem::new(
            format!("no pod of the namespace {namespace} has a proxy"),
            format!(
                "kubectl annotate namespace {namespace} linkerd.io/inject=enabled; \
                 kubectl rollout restart -n {namespace} deploy"
            ),
        )),
        _ => Finding::Fine,
    }
}

/// A proxy that starts again knows only the anchors that its pod was given: where the control plane's own
/// certificate comes from another, it finds none that it could believe. So all must know an anchor before an
/// issuer comes from it.
fn anchors(seen: &Observed, meshed: &[&Pod]) -> Option<Problem> {
    let current = certificates(seen.anchors.as_ref().ok()?.data.as_ref()?.get("ca.crt")?);
    let lacks = |pod: &&&Pod| {
        let given = proxy_environment(pod, "WEFT_TRUST_ANCHORS").map(certificates);
        given.is_some_and(|given| !current.is_subset(&given))
    };
    let stale: Vec<String> = meshed.iter().filter(lacks).map(|pod| name(pod)).collect();
    (!stale.is_empty()).then(|| {
        let error =
            format!("{} were injected with other anchors, and may not come back when they start again", few(&stale));
        Problem::new(error, "restart them before the issuer changes: kubectl rollout restart -n NAMESPACE deploy")
    })
}

/// The certificates of a text in PEM, in DER: people write the same one in different lines.
fn certificates(text: &str) -> BTreeSet<Vec<u8>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).flatten().map(|der| der.to_vec()).collect()
}

/// Proxies of another version than this one.
fn versions(seen: &Observed, expected: &str, hint: &str) -> Option<Problem> {
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pod in seen.pods.iter().flatten().filter(|pod| is_meshed(pod) && is_running(pod)) {
        let version = pod.metadata.annotations.as_ref().and_then(|all| all.get(PROXY_VERSION));
        let version = version.map_or("unknown", String::as_str);
        if version != expected {
            others.entry(version).or_default().push(name(pod));
        }
    }
    let told: Vec<String> = others.iter().map(|(version, pods)| format!("{} run {version}", few(pods))).collect();
    (!told.is_empty()).then(|| Problem::new(format!("{expected} is expected; {}", told.join("; ")), hint))
}

/// Marks that stand where nothing reads them.
fn misplaced(seen: &Observed, report: &mut Report) {
    let linkerd = |key: &str| {
        let setting = key.starts_with("config.") && key.contains("linkerd.io/") && key != LINKERDS_LABEL;
        key == "linkerd.io/inject" || setting
    };
    let wrong_labels = |kind: &str, metadata: &ObjectMeta| {
        let keys = metadata.labels.iter().flat_map(|labels| labels.keys()).filter(|key| linkerd(key));
        keys.map(|key| format!("{kind} {}: {key}", full_name(metadata))).collect::<Vec<_>>()
    };
    let hint = "Linkerd's settings are annotations: write them under metadata.annotations";
    let pods = seen.pods.iter().flatten().flat_map(|pod| wrong_labels("Pod", &pod.metadata));
    report.check("pod labels are configured correctly", warns(pods.collect(), hint));
    let services = seen.services.iter().flatten().flat_map(|service| wrong_labels("Service", &service.metadata));
    report.check("service labels are configured correctly", warns(services.collect(), hint));
    let namespaces = seen.namespaces.iter().flatten().flat_map(|namespace| {
        let mut wrong = wrong_labels("Namespace", &namespace.metadata);
        let annotations = namespace.metadata.annotations.iter().flat_map(|all| all.keys());
        let istio = annotations.filter(|key| ["istio-injection", "istio.io/rev"].contains(&key.as_str()));
        wrong.extend(istio.map(|key| format!("Namespace {}: annotation {key}", full_name(&namespace.metadata))));
        wrong
    });
    let hint = "Linkerd's settings are annotations, Istio's istio-injection and istio.io/rev are labels";
    report.check("namespace labels and annotations are configured correctly", warns(namespaces.collect(), hint));
}

fn warns(wrong: Vec<String>, hint: &str) -> Finding {
    let problem = (!wrong.is_empty()).then(|| Problem::new(format!("nothing reads {}", few(&wrong)), hint));
    Finding::warns_if(problem)
}

fn full_name(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    metadata.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// The only setting of Linkerd's that is a label: it keeps its webhooks out of a namespace.
const LINKERDS_LABEL: &str = "config.linkerd.io/admission-webhooks";
