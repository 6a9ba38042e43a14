//! What a webhook configuration must say: whom the API server trusts as the webhooks' server, and
//! for which namespaces it must not go on without them. Everything else in it is the user's.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::{Value, json};

use crate::names::CONTROLLER;

/// What is to be changed in the injector's configuration; a strategic merge patch, or nothing.
/// Only webhooks that lead to the Service of `namespace` are touched: others are another control
/// plane's. `meshed` is `None` while the namespaces aren't known yet.
pub(super) fn injector(
    found: &MutatingWebhookConfiguration,
    namespace: &str,
    bundle: &ByteString,
    meshed: Option<&BTreeSet<String>>,
) -> Option<Value> {
    let own = found.webhooks.iter().flatten().filter(|webhook| is_own(&webhook.client_config, namespace));
    let webhooks = own.filter_map(|webhook| {
        let trust = changed_bundle(webhook.client_config.ca_bundle.as_ref(), bundle);
        let listed = meshed.filter(|_| webhook.name.starts_with(MESHED));
        let selector = listed.and_then(|meshed| changed_selector(webhook.namespace_selector.as_ref()?, meshed));
        change(&webhook.name, trust, selector)
    });
    patch(webhooks.collect())
}

/// What is to be changed in the validator's configuration.
pub(super) fn validator(found: &ValidatingWebhookConfiguration, namespace: &str, bundle: &ByteString) -> Option<Value> {
    let own = found.webhooks.iter().flatten().filter(|webhook| is_own(&webhook.client_config, namespace));
    let webhooks = own.filter_map(|webhook| {
        change(&webhook.name, changed_bundle(webhook.client_config.ca_bundle.as_ref(), bundle), None)
    });
    patch(webhooks.collect())
}

fn is_own(config: &WebhookClientConfig, namespace: &str) -> bool {
    config.service.as_ref().is_some_and(|service| service.namespace == namespace && service.name == CONTROLLER)
}

/// The API server merges a list of webhooks by their names.
fn patch(webhooks: Vec<Value>) -> Option<Value> {
    if webhooks.is_empty() { None } else { Some(json!({"webhooks": webhooks})) }
}

fn change(name: &str, bundle: Option<&ByteString>, selector: Option<LabelSelector>) -> Option<Value> {
    if bundle.is_none() && selector.is_none() {
        return None;
    }
    let mut change = json!({"name": name});
    if let Some(bundle) = bundle {
        change["clientConfig"] = json!({"caBundle": bundle});
    }
    if let Some(selector) = selector {
        change["namespaceSelector"] = json!(selector);
    }
    Some(change)
}

fn changed_bundle<'b>(found: Option<&ByteString>, wanted: &'b ByteString) -> Option<&'b ByteString> {
    if found == Some(wanted) { None } else { Some(wanted) }
}

/// The selector with the list of meshed namespaces set, where it has one that differs.
fn changed_selector(found: &LabelSelector, meshed: &BTreeSet<String>) -> Option<LabelSelector> {
    let mut wanted = found.clone();
    let is_list = |it: &&mut LabelSelectorRequirement| it.key == NAMESPACE_NAME && it.operator == "In";
    let list = wanted.match_expressions.iter_mut().flatten().find(is_list)?;
    let mut names: Vec<String> = meshed.iter().cloned().collect();
    if names.is_empty() {
        names.push(NO_NAMESPACE.to_owned());
    }
    list.values = Some(names);
    if *found == wanted { None } else { Some(wanted) }
}

/// The webhook without which no pod of a meshed namespace starts.
const MESHED: &str = "meshed.";
/// The label that each namespace has by itself.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// A list can't be empty, and no namespace has this name.
const NO_NAMESPACE: &str = "";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bundle: &str, list: &[&str]) -> MutatingWebhookConfiguration {
        let webhook = |name: &str, selector: Value| {
            json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                   "clientConfig": {"caBundle": ByteString(bundle.into()),
                                    "service": {"name": "weft-controller", "namespace": "weft"}},
                   "namespaceSelector": selector})
        };
        let never = json!({"key": NAMESPACE_NAME, "operator": "NotIn", "values": ["kube-system"]});
        let only = json!({"key": NAMESPACE_NAME, "operator": "In", "values": list});
        let webhooks = [
            webhook("meshed.inject.weft.io", json!({"matchExpressions": [never, only]})),
            webhook("rest.inject.weft.io", json!({"matchExpressions": [never]})),
        ];
        serde_json::from_value(json!({"webhooks": webhooks})).unwrap()
    }

    #[test]
    fn only_what_differs_is_changed() {
        let bundle = ByteString(b"new".to_vec());
        let meshed = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(injector(&found("new", &["a", "b"]), "weft", &bundle, Some(&meshed)), None);
        assert_eq!(injector(&found("new", &["x"]), "weft", &bundle, None), None, "the namespaces aren't known yet");
        let change = injector(&found("old", &["a", "b"]), "weft", &bundle, Some(&meshed)).unwrap();
        assert_eq!(change["webhooks"].as_array().unwrap().len(), 2);
        assert_eq!(change["webhooks"][0]["clientConfig"], json!({"caBundle": bundle}));
        assert!(change["webhooks"][0].get("namespaceSelector").is_none());
    }

    /// Two controllers of two namespaces would undo each other's work without an end.
    #[test]
    fn what_is_another_control_planes_is_left_alone() {
        assert_eq!(
            injector(&found("old", &["x"]), "other", &ByteString(b"new".to_vec()), Some(&BTreeSet::new())),
            None
        );
    }

    #[test]
    fn the_list_follows_the_namespaces() {
        let bundle = ByteString(b"new".to_vec());
        let list = |meshed: &[&str]| {
            let meshed = meshed.iter().map(|name| (*name).to_owned()).collect();
            let change = injector(&found("new", &["x"]), "weft", &bundle, Some(&meshed)).unwrap();
            assert_eq!(change["webhooks"].as_array().unwrap().len(), 1);
            let expressions = &change["webhooks"][0]["namespaceSelector"]["matchExpressions"];
            assert_eq!(expressions[0]["operator"], "NotIn");
            expressions[1]["values"].clone()
        };
        assert_eq!(list(&["a", "b"]), json!(["a", "b"]));
        assert_eq!(list(&[]), json!([""]));
    }
}
