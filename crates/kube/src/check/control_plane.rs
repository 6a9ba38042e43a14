//! What an installation makes, and whether its controller runs.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::observed::{Asked, Observed, Unseen};
use super::report::{Finding, Problem, Report};
use super::{Stop, kubernetes, rights};
use crate::crds::{DEFINITIONS, missing_versions};
use crate::names::CONTROLLER;
use crate::pods::{is_ready, what_hinders};
use crate::words::few;

/// The resource definitions alone.
pub(super) fn definitions(seen: &Observed, report: &mut Report) {
    report.category("weft-crd");
    defined(seen, report);
}

fn defined(seen: &Observed, report: &mut Report) {
    let (mut wrong, mut unseen) = (Vec::new(), None);
    for (definition, found) in DEFINITIONS.iter().zip(&seen.definitions) {
        match found {
            Ok(found) => {
                let missing = missing_versions(found);
                if !missing.is_empty() {
                    wrong.push(format!("{} doesn't serve {}", definition.name, missing.join(" and ")));
                }
            }
            Err(Unseen::Absent) => wrong.push(format!("{} is missing", definition.name)),
            Err(why) => unseen = Some(why),
        }
    }
    let hint = "make them: weft install --crds | kubectl apply -f -; those of another maker are updated with its means";
    report.check("control plane CustomResourceDefinitions exist", found(&wrong, unseen, hint));
}

/// What is wrong fails; what couldn't be seen is only worth knowing.
fn found(wrong: &[String], unseen: Option<&Unseen>, hint: &str) -> Finding {
    match unseen {
        _ if !wrong.is_empty() => Finding::Fails(Problem::new(few(wrong), hint)),
        unseen => Finding::warns_if(unseen.map(unread)),
    }
}

/// Whether Weft is there and runs.
pub(super) fn existence(seen: &Observed, report: &mut Report) -> Result<(), Stop> {
    report.category("weft-existence");
    let config = seen.values.as_ref().err().map(|unseen| match unseen {
        Unseen::Absent => Problem::new(
            format!("Weft isn't installed in the namespace {}", seen.namespace),
            "install it: weft install | kubectl apply -f -; or say where it is with -L NAMESPACE",
        ),
        unseen => unread(unseen),
    });
    report.must("'weft-config' config map exists", Finding::fails_if(config))?;
    report.check("control plane replica sets are ready", replicas(seen));
    let controllers = seen.controllers.as_deref().unwrap_or_default();
    report.check("no unschedulable pods", Finding::warns_if(unschedulable(controllers)));
    report.check("control plane pods are ready", pods(seen));
    Ok(())
}

fn replicas(seen: &Observed) -> Finding {
    let deployment = match &seen.deployment {
        Ok(deployment) => deployment,
        Err(Unseen::Absent) => {
            let error = format!("the Deployment {CONTROLLER} is missing");
            return Finding::Fails(Problem::new(error, AGAIN));
        }
        Err(unseen) => return Finding::Warns(unread(unseen)),
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    if wanted == 0 {
        let hint = format!("kubectl -n {} scale deployment {CONTROLLER} --replicas=1", seen.namespace);
        return Finding::Fails(Problem::new("the Deployment is scaled to 0", hint));
    }
    let seen_generation = status.observed_generation >= deployment.metadata.generation;
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    // While a new one doesn't come up, an old one that is available stays.
    let old = status.replicas.unwrap_or(0) - updated;
    if seen_generation && updated >= wanted && available >= wanted && old <= 0 {
        return Finding::Fine;
    }
    let error =
        format!("{available} of {wanted} replicas are available, {updated} of the newest version, {old} of others");
    Finding::Waits(Problem::new(error, format!("see why: kubectl -n {} describe pods", seen.namespace)))
}

fn unschedulable(pods: &[Pod]) -> Option<Problem> {
    let reason = |pod: &Pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let refused = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
        Some(format!("{}: {}", name(pod), refused.message.as_deref().unwrap_or("no node takes it")))
    };
    let reasons: Vec<String> = pods.iter().filter_map(reason).collect();
    (!reasons.is_empty()).then(|| Problem::new(few(&reasons), "give the cluster a node that fits, or ask for less"))
}

fn pods(seen: &Observed) -> Finding {
    let pods = match &seen.controllers {
        Ok(pods) => pods,
        Err(unseen) => return Finding::Warns(unread(unseen)),
    };
    let going_up = pods.iter().filter(|pod| !is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    let hindered: Vec<(&Pod, String)> = going_up.map(|pod| (pod, what_hinders(pod))).collect();
    if let Some(broken) = hindered.iter().find_map(|(pod, why)| broken(pod, why)) {
        return Finding::Fails(broken);
    }
    // A rollout's old and new pod stand side by side, and finished ones may linger.
    if pods.iter().any(is_ready) {
        return Finding::Fine;
    }
    Finding::Waits(match hindered.first() {
        Some((pod, why)) => Problem::new(format!("{}: {why}", name(pod)), log_of(pod)),
        None => Problem::new("there is no pod of the controller", "see why: kubectl describe replicasets"),
    })
}

/// What won't come right by itself.
fn broken(pod: &Pod, why: &str) -> Option<Problem> {
    let is_one = |reasons: &[&str]| reasons.iter().any(|reason| why.contains(reason));
    let hint = match () {
        () if is_one(IMAGE_TROUBLE) => {
            "give the nodes Weft's images (scripts/images DIR makes them), or say where they are: --set images.controller=…"
                .to_owned()
        }
        () if is_one(ENDS_AGAIN) => log_of(pod),
        () => return None,
    };
    Some(Problem::new(format!("{}: {why}", name(pod)), hint))
}

/// Of two pods of a Deployment, kubectl would choose one by itself.
fn log_of(pod: &Pod) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("see its log: kubectl -n {} logs {}", text(&pod.metadata.namespace), text(&pod.metadata.name))
}

/// Whether all objects of an installation are there, and grant what they must.
pub(super) fn configuration(seen: &Observed, report: &mut Report) {
    report.category("weft-config");
    for (kind, description) in KINDS {
        let (mut absent, mut unseen) = (Vec::new(), None);
        for (expected, found) in seen.objects.iter().filter(|(expected, _)| expected["kind"] == *kind) {
            let name = expected["metadata"]["name"].as_str().unwrap_or_default();
            match found {
                Ok(_) => {}
                Err(Unseen::Absent) => absent.push(format!("{name} is missing")),
                Err(why) => unseen = Some(why),
            }
        }
        report.check(*description, found(&absent, unseen, AGAIN));
    }
    let missing = missing_rights(seen);
    let problem =
        (!missing.is_empty()).then(|| Problem::new(format!("{CONTROLLER} has no right to {}", few(&missing)), AGAIN));
    report.check("control plane has the rights that it needs", Finding::fails_if(problem));
    defined(seen, report);
    kubernetes::clocks(seen, report);
}

/// What roles and bindings that exist don't grant.
fn missing_rights(seen: &Observed) -> Vec<String> {
    let mut missing = Vec::new();
    for (expected, found) in &seen.objects {
        let Ok(found) = found else { continue };
        match expected["kind"].as_str() {
            Some("ClusterRole" | "Role") => missing.extend(rights::missing(&expected["rules"], &found["rules"])),
            Some(kind @ ("ClusterRoleBinding" | "RoleBinding")) => {
                let bound = found["roleRef"]["name"] == expected["roleRef"]["name"];
                let subject = &expected["subjects"][0];
                let same = |other: &Value| ["kind", "name", "namespace"].iter().all(|key| other[key] == subject[key]);
                if !bound || !found["subjects"].as_array().into_iter().flatten().any(same) {
                    missing.push(format!("use its role (the {kind} names another)"));
                }
            }
            _ => {}
        }
    }
    missing
}

/// Whether controller and command line are of one version.
pub(super) fn version(seen: &Observed, asked: &Asked, report: &mut Report) {
    report.category("control-plane-version");
    let running = seen
        .deployment
        .as_ref()
        .ok()
        .and_then(|deployment| deployment.metadata.labels.as_ref()?.get("app.kubernetes.io/version").cloned());
    let Some(running) = running else {
        let problem = Problem::new("the Deployment doesn't say its version", AGAIN);
        return report.check("can retrieve the control plane version", Finding::Warns(problem));
    };
    report.check("can retrieve the control plane version", Finding::Fine);
    if let Some(expected) = &asked.expected_version {
        let old = (running != *expected).then(|| {
            Problem::new(
                format!("the control plane is {running}, {expected} is expected"),
                "update it with that version's weft install",
            )
        });
        report.check("control plane is up-to-date", Finding::warns_if(old));
    }
    let other = (running != seen.version).then(|| {
        let error = format!("the control plane is {running}, this weft is {}", seen.version);
        Problem::new(error, "use one version: weft install | kubectl apply -f - updates the control plane")
    });
    report.check("control plane and cli versions match", Finding::warns_if(other));
}

/// Whether the command line is what the user expects.
pub(super) fn command_line(seen: &Observed, expected: &str, report: &mut Report) {
    report.category("weft-version");
    let problem = (seen.version != expected).then(|| {
        Problem::new(format!("this weft is {}, {expected} is expected", seen.version), "install that version")
    });
    report.check("cli is up-to-date", Finding::warns_if(problem));
}

/// What can't be read can't be judged.
pub(super) fn unread(unseen: &Unseen) -> Problem {
    Problem::new(unseen.to_string(), "ask for the right to read it, or act as somebody who may with --as USER")
}

pub(super) fn name(pod: &Pod) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name))
}

/// What mends an installation that lacks something.
pub(super) const AGAIN: &str = "install it again: weft install | kubectl apply -f -";
/// A kind of what an installation makes, and what is checked of it.
const KINDS: &[(&str, &str)] = &[
    ("Namespace", "control plane Namespace exists"),
    ("ClusterRole", "control plane ClusterRoles exist"),
    ("ClusterRoleBinding", "control plane ClusterRoleBindings exist"),
    ("Role", "control plane Roles exist"),
    ("RoleBinding", "control plane RoleBindings exist"),
    ("ServiceAccount", "control plane ServiceAccounts exist"),
    ("Service", "control plane Services exist"),
    ("MutatingWebhookConfiguration", "control plane MutatingWebhookConfigurations exist"),
    ("ValidatingWebhookConfiguration", "control plane ValidatingWebhookConfigurations exist"),
];
/// The kubelet's words where an image can't be had.
const IMAGE_TROUBLE: &[&str] = &["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];
/// The kubelet's words where a container won't run by itself.
const ENDS_AGAIN: &[&str] =
    &["CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"];
