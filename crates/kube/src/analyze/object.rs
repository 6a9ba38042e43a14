//! Objects of a cluster or of files, as JSON, with the place where they stand.

use std::mem;

use kube::Client;
use kube::api::ListParams;
use serde_json::Value;
use weft_resources::{DEFAULT_NAMESPACE, Parsed, Problem, ResourceRef, Severity};

use super::{Code, Message, Subject};
use crate::client::ClientError;
use crate::documents::documents;
use crate::fetch::{CONFIG_MAP, Kind};
use crate::inject::version_of;
use crate::install::installed_values;
use crate::model::policy::{Policy, PolicyKind};
use crate::names::VALUES_CONFIG;

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The object.
    pub value: Value,
    /// `FILE:LINE`; empty for the cluster's.
    pub reference: String,
    /// What it is as a policy, if it is one.
    pub(super) policy: Parsed,
    /// Where its document begins; 0 for the cluster's.
    line: usize,
}

impl Object {
    /// An object of the cluster.
    pub fn of_cluster(value: Value) -> Self {
        let read = |kind| Some(Policy::read(kind, &serde_json::from_value(value.clone()).ok()?).parsed);
        let policy = policy_kind(&value).and_then(read).map(judged).unwrap_or_default();
        Self { value, reference: String::new(), policy, line: 0 }
    }

    fn of_file(value: Value, (file, line): (&str, usize)) -> Self {
        Self { value, reference: format!("{file}:{line}"), policy: Parsed::default(), line }
    }

    pub(super) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its namespace, `default` where none is named; empty for what stands in none.
    pub(super) fn namespace(&self) -> &str {
        match self.value["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => namespace,
            None if self.kind() == "Namespace" => "",
            None => DEFAULT_NAMESPACE,
        }
    }

    /// Puts what names no namespace into this one, as kubectl does.
    fn place(&mut self, namespace: &str) {
        let is_placed = self.value["metadata"]["namespace"].as_str().is_some_and(|own| !own.is_empty());
        if is_placed || self.kind() == "Namespace" {
            return;
        }
        if let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        for resource in &mut self.policy.resources {
            let meta = resource.meta_mut();
            meta.namespace = meta.namespace.is_some().then(|| namespace.to_owned());
        }
        for resource in self.policy.problems.iter_mut().filter_map(|problem| problem.resource.as_mut()) {
            resource.namespace = Some(namespace.to_owned());
        }
    }

    pub(super) fn title(&self) -> String {
        match self.namespace() {
            "" => format!("{} {}", self.kind(), self.name()),
            namespace => format!("{} {}.{namespace}", self.kind(), self.name()),
        }
    }

    pub(super) fn key(&self) -> (String, String, String) {
        (self.kind().to_owned(), self.namespace().to_owned(), self.name().to_owned())
    }

    pub(super) fn marks(&self, what: &str) -> impl Iterator<Item = (&str, &str)> {
        let marks = self.value["metadata"][what].as_object().into_iter().flatten();
        marks.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// Whether there is something that it doesn't want to hear.
    pub(super) fn wants_quiet(&self) -> bool {
        self.value["metadata"]["annotations"][SUPPRESS].is_string()
    }

    /// Whether it says that it doesn't want to hear this about itself.
    pub(super) fn suppresses(&self, message: &Message) -> bool {
        let (number, ..) = message.code.describe();
        let said = self.value["metadata"]["annotations"][SUPPRESS].as_str().unwrap_or_default();
        let is_named = |code: &str| matches!(code.trim(), "*") || code.trim() == number;
        !said.is_empty() && message.origin == self.title() && said.split(',').any(is_named)
    }
}

/// The objects of a file of YAML or JSON, and what is wrong with it. Policies are looked at as a mesh
/// that follows a folder looks at them. What names no namespace stands in `namespace`.
pub fn read_file(name: &str, text: &str, namespace: &str) -> (Vec<Object>, Vec<Message>) {
    let mut objects = Vec::new();
    let mut messages = Vec::new();
    for (line, document) in documents(text) {
        match read_document(document) {
            Ok(value) => flatten(value, (name, line), &mut objects),
            Err(why) => {
                let file = Object::of_file(Value::Null, (name, line));
                let mut message = Message::new(Code::SchemaValidationError, &file, format!("it is no YAML: {why}"));
                message.origin = "File".to_owned();
                messages.push(message);
            }
        }
    }
    let Parsed { resources, problems, .. } = weft_resources::parse(name, text.as_bytes());
    for resource in resources {
        if let Some(object) = named(&mut objects, &resource.reference(), resource.meta().line) {
            object.policy.resources.push(resource);
        }
    }
    // What Weft doesn't look at in a folder, it may well look at in a cluster.
    let matters = |problem: &Problem| problem.severity > Severity::Info && problem.resource.is_some();
    for problem in problems.into_iter().filter(matters) {
        match problem.resource.as_ref().and_then(|resource| named(&mut objects, resource, problem.line)) {
            Some(object) => object.policy.problems.push(problem),
            None => messages.push(of_problem(&problem)),
        }
    }
    for object in &mut objects {
        object.policy = judged(mem::take(&mut object.policy));
        object.place(namespace);
    }
    (objects, messages)
}

/// What the reader says of a policy. What makes it a broken one is an error, also where it is an unknown field alone.
fn judged(mut policy: Parsed) -> Parsed {
    let severity = |problem: &Problem| if policy.is_defect(problem) { Severity::Error } else { problem.severity };
    let severities: Vec<Severity> = policy.problems.iter().map(severity).collect();
    policy.problems.iter_mut().zip(severities).for_each(|(problem, severity)| problem.severity = severity);
    policy
}

/// A document of JSON or YAML. `kubectl get -o json` of many objects is longer than what the reader of YAML takes.
fn read_document(text: &str) -> Result<Value, String> {
    let json = || text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten();
    let yaml = || serde_saphyr::from_str::<Value>(text);
    json().map_or_else(yaml, Ok).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// The policy that a reader means by a reference and a line: of several of one name the last that begins before it.
fn named<'o>(objects: &'o mut [Object], reference: &ResourceRef, line: u32) -> Option<&'o mut Object> {
    let is_it = |object: &&mut Object| {
        policy_kind(&object.value).is_some_and(|kind| kind.as_str() == reference.kind)
            && reference.name.as_deref() == Some(object.name())
            && reference.namespace.as_deref() == Some(object.namespace())
            && object.line <= line as usize
    };
    objects.iter_mut().rev().find(is_it)
}

/// What a policy's reader says, as a message.
pub(super) fn of_problem(problem: &Problem) -> Message {
    let code = match problem.severity {
        Severity::Error => Code::SchemaValidationError,
        Severity::Warning | Severity::Info => Code::SchemaWarning,
    };
    let reference = if problem.line > 0 { format!("{}:{}", problem.file, problem.line) } else { String::new() };
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| weft_resources::UNKNOWN.to_owned());
    let origin = match &problem.resource {
        Some(resource) => format!("{} {}.{}", resource.kind, told(&resource.name), told(&resource.namespace)),
        None => "File".to_owned(),
    };
    let field = problem.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
    Message { code, level: problem.severity, origin, reference, message: format!("{field}{}", problem.message) }
}

/// What is no mapping, such as a list of patches, is no object.
fn flatten(mut value: Value, place: (&str, usize), objects: &mut Vec<Object>) {
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items.into_iter().for_each(|item| flatten(item, place, objects)),
        _ if value["kind"].is_string() => objects.push(Object::of_file(value, place)),
        _ => {}
    }
}

/// The cluster's objects that can be looked at: of one namespace, or of all.
///
/// # Errors
/// When the API server refuses or doesn't answer.
pub async fn look(client: &Client, namespace: Option<&str>, control_namespace: &str) -> Result<Subject, ClientError> {
    let mut objects = Vec::new();
    let params = ListParams::default();
    for (kind, is_namespaced) in KINDS {
        let within = namespace.filter(|_| is_namespaced);
        for mut value in kind.list(client, within, &params).await? {
            // Lists leave out what each of their objects is.
            value["apiVersion"] = kind.api_version.into();
            value["kind"] = kind.kind.into();
            objects.push(Object::of_cluster(value));
        }
    }
    // Who may not see how Weft is installed misses one kind of message, and the trust domain is the usual one.
    let config = CONFIG_MAP.get(client, Some(control_namespace), VALUES_CONFIG).await.ok().flatten();
    let values = config.as_ref().and_then(installed_values);
    Ok(Subject {
        objects,
        has_cluster: true,
        control_namespace: control_namespace.to_owned(),
        trust_domain: values.as_ref().and_then(|values| values.trust_domain.parse().ok()).unwrap_or_default(),
        proxy_version: values.map(|values| version_of(&values.images.proxy).to_owned()),
    })
}

const GROUP: &str = "security.istio.io/v1";
const KINDS: [(Kind<'static>, bool); 9] = [
    (Kind { api_version: "v1", kind: "Namespace" }, false),
    (Kind { api_version: "v1", kind: "Pod" }, true),
    (Kind { api_version: "v1", kind: "Service" }, true),
    (Kind { api_version: "apps/v1", kind: "Deployment" }, true),
    (Kind { api_version: "apps/v1", kind: "StatefulSet" }, true),
    (Kind { api_version: "apps/v1", kind: "DaemonSet" }, true),
    (Kind { api_version: "batch/v1", kind: "CronJob" }, true),
    (Kind { api_version: GROUP, kind: "AuthorizationPolicy" }, true),
    (Kind { api_version: GROUP, kind: "PeerAuthentication" }, true),
];

/// Whether an object is a policy, and of which kind.
pub(super) fn policy_kind(object: &Value) -> Option<PolicyKind> {
    let is_ours = object["apiVersion"].as_str().is_some_and(|version| version.starts_with("security.istio.io/"));
    PolicyKind::ALL.into_iter().find(|kind| is_ours && object["kind"] == kind.as_str())
}

/// Istio's annotation for codes that an object doesn't want to hear.
const SUPPRESS: &str = "galley.istio.io/analyze-suppress";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_lines() {
        let text = "kind: Pod\n---\n# nothing\n---\nkind: Service\nx: |\n  ---\n--- # three\nkind: Secret\n";
        let lines: Vec<usize> = documents(text).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 5, 9]);
        let (objects, messages) = read_file("a.yaml", text, "default");
        let places: Vec<_> = objects.iter().map(|object| (object.kind(), object.reference.as_str())).collect();
        assert_eq!(places, [("Pod", "a.yaml:1"), ("Service", "a.yaml:5"), ("Secret", "a.yaml:9")]);
        assert_eq!(messages, []);
    }

    #[test]
    fn lists_are_opened_and_broken_files_are_told() {
        let list = r#"{"kind": "List", "items": [{"kind": "Pod"}, {"kind": "Service"}]}"#;
        let (objects, _) = read_file("l.json", list, "default");
        assert_eq!(objects.iter().map(Object::kind).collect::<Vec<_>>(), ["Pod", "Service"]);
        let (_, messages) = read_file("b.yaml", "a: [", "default");
        assert!(messages[0].to_string().starts_with("Error [IST0106] (File b.yaml:1) it is no YAML"), "{messages:?}");
    }
}
