//! From annotations to settings: what has a meaning here is taken, all else of a mesh is remarked
//! on, so that nothing is ignored in silence.

use std::collections::BTreeMap;

use super::effect::Effect;
use super::linkerd::INHERITED_PREFIXES;
use super::marks::{Marks, NamespaceMarks};
use super::settings::{Mode, Settings};
use super::{istio, linkerd};

/// Settings of a pod, out of its namespace's annotations and its own.
pub(super) fn settings(namespace: &NamespaceMarks, pod: &Marks, mode: Mode) -> Settings {
    let mut settings = Settings { inherited: inherited(&namespace.marks, pod), ..Settings::default() };
    // Linkerd's come second: where both dialects set one value, Linkerd's is the one that holds.
    take(&mut settings, &pod.annotations, istio::apply);
    let inherited = settings.inherited.clone();
    take(&mut settings, &inherited, linkerd::apply);
    take(&mut settings, &pod.annotations, linkerd::apply);
    if mode == Mode::Ingress {
        settings.remarks.push(INGRESS.to_owned());
    }
    settings.remarks.extend(security_remark(&namespace.marks));
    settings
}

/// Checks one of Linkerd's settings, as `weft inject` writes them.
///
/// # Errors
/// What was expected and found, or why it has no effect.
pub fn check_setting(key: &str, value: &str) -> Result<(), String> {
    match linkerd::apply(&mut Settings::default(), key, value)? {
        Effect::Taken => Ok(()),
        Effect::Void(reason) | Effect::Closes(reason) => Err(reason),
        Effect::Unknown | Effect::Foreign => Err("no such setting is known".to_owned()),
    }
}

type Apply = fn(&mut Settings, &str, &str) -> Result<Effect, String>;

fn take(settings: &mut Settings, annotations: &BTreeMap<String, String>, apply: Apply) {
    for (key, value) in annotations {
        let remark = match apply(settings, key, value) {
            Ok(Effect::Taken | Effect::Foreign) => continue,
            Ok(Effect::Void(reason)) => format!("{key} has no effect: {reason}"),
            Ok(Effect::Closes(reason)) => format!("{key} lets nobody call, until it is understood: {reason}"),
            Ok(Effect::Unknown) => format!("{key} has no effect: no such annotation is known"),
            Err(reason) => format!("{key} has no effect: {reason}"),
        };
        settings.remarks.push(remark);
    }
}

/// The namespace's settings, save those for which the pod has a value of its own.
fn inherited(namespace: &Marks, pod: &Marks) -> BTreeMap<String, String> {
    let is_setting = |key: &str| INHERITED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let given = namespace.annotations.iter().filter(|(key, _)| is_setting(key) && !pod.annotations.contains_key(*key));
    given.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A namespace at a Pod Security level that forbids what redirection needs. The pod is injected
/// all the same: it is refused then, and doesn't run outside the mesh unseen.
fn security_remark(namespace: &Marks) -> Option<String> {
    let level = namespace.label(SECURITY_LABEL).filter(|level| matches!(*level, "baseline" | "restricted"))?;
    Some(format!(
        "the namespace enforces the Pod Security level {level}, which refuses the capability NET_ADMIN that weft-init \
         needs to redirect traffic: label the namespace {SECURITY_LABEL}=privileged"
    ))
}

const SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";
const INGRESS: &str = "linkerd.io/inject: ingress means enabled here: calls go to the service whose address was \
                       dialled, and the header l5d-dst-override isn't read";

#[cfg(test)]
mod tests;
