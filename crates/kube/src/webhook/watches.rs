//! What the keeper follows: the Secret, both configurations and the namespaces.

use futures_util::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client};

use crate::names::{INJECTOR, VALIDATOR, WEBHOOK_SECRET};
use crate::watch::patient;

/// Something that was watched has changed.
pub(super) enum Change {
    Namespace(watcher::Event<PartialObjectMeta<Namespace>>),
    Secret(Option<Secret>),
    Injector(Option<MutatingWebhookConfiguration>),
    Validator(Option<ValidatingWebhookConfiguration>),
}

/// Every change, without an end.
pub(super) fn all(client: &Client, namespace: &str) -> BoxStream<'static, Change> {
    // The metadata alone is asked for.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let namespaces = move || watcher::watcher(namespaces.clone(), watcher::Config::default());
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = move || watcher::watch_object(secrets.clone(), WEBHOOK_SECRET);
    let injectors = Api::all(client.clone());
    let injector = move || watcher::watch_object(injectors.clone(), INJECTOR);
    let validators = Api::all(client.clone());
    let validator = move || watcher::watch_object(validators.clone(), VALIDATOR);
    let all = [
        patient("namespaces", namespaces, |found| matches!(found, watcher::Event::Init)).map(Change::Namespace).boxed(),
        patient(WEBHOOK_SECRET, secret, |_| false).map(Change::Secret).boxed(),
        patient(INJECTOR, injector, |_| false).map(Change::Injector).boxed(),
        patient(VALIDATOR, validator, |_| false).map(Change::Validator).boxed(),
    ];
    stream::select_all(all).boxed()
}
