//! Whether namespaces say what becomes of their pods, and say it once.

use crate::names::{NEVER_INJECTED, ROOT_NAMESPACE};

use super::{Code, Message, Object, Subject};

pub(super) fn check(objects: &[&Object], subject: &Subject, messages: &mut Vec<Message>) {
    for namespace in objects.iter().filter(|object| object.kind() == "Namespace") {
        let name = namespace.name();
        if NEVER_INJECTED.contains(&name) || name == subject.control_namespace || name == ROOT_NAMESPACE {
            continue;
        }
        let label = |key: &str| namespace.marks("labels").find(|(found, _)| *found == key).map(|(_, value)| value);
        if label(ISTIO).is_some() && label(REVISION).is_some() {
            let text = format!("it has both {ISTIO} and {REVISION}: {ISTIO} decides; take {REVISION} away");
            messages.push(Message::new(Code::NamespaceMultipleInjectionLabels, namespace, text));
        }
        let annotated = namespace.marks("annotations").any(|(key, _)| ["linkerd.io/inject", OWN].contains(&key));
        if !annotated && label(ISTIO).is_none() && label(REVISION).is_none() && label(OWN).is_none() {
            let text = format!(
                "it doesn't say whether its pods get proxies: kubectl annotate namespace {name} \
                 linkerd.io/inject=enabled, or =disabled"
            );
            messages.push(Message::new(Code::NamespaceNotInjected, namespace, text));
        }
    }
}

const ISTIO: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const OWN: &str = "weft.io/inject";
