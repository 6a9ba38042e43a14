//! Keeps what the API server must know of the webhooks true: the certificate in its Secret, its
//! authority and the meshed namespaces in the configurations. It follows all of them by watches,
//! so that whatever undoes it (`weft install` applied again) is repaired.
//!
//! A certificate is used only once both configurations trust its authority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::sync::watch;
use weft_identity::NamedServer;

use super::certificate::{self, AUTHORITY, CERTIFICATE, Data, Judgement, KEY};
use super::watches::{self, Change};
use super::{Settings, configuration};
use crate::client::failed;
use crate::inject::{self, NamespaceMarks};
use crate::names::{CONTROLLER, INJECTOR, VALIDATOR, WEBHOOK_SECRET};

/// What the watch knows of namespaces.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespaces(Arc<Mutex<BTreeMap<String, NamespaceMarks>>>);

impl Namespaces {
    pub(super) fn find(&self, name: &str) -> Option<NamespaceMarks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, NamespaceMarks>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn meshed(&self, control_namespace: &str) -> BTreeSet<String> {
        let namespaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meshed = namespaces.values().filter(|namespace| inject::is_meshed(namespace, control_namespace));
        meshed.map(|namespace| namespace.name.clone()).collect()
    }
}

/// The keeper's knowledge.
pub(super) struct Keeper {
    client: Client,
    namespace: String,
    namespaces: Namespaces,
    /// A list of namespaces that isn't complete yet.
    listing: BTreeMap<String, NamespaceMarks>,
    /// Whether every namespace is known.
    listed: bool,
    secret: Seen<Secret>,
    injector: Seen<MutatingWebhookConfiguration>,
    validator: Seen<ValidatingWebhookConfiguration>,
    serving: watch::Sender<Option<Arc<ServerConfig>>>,
    /// What is in use, and when what follows it may be.
    used: Option<Data>,
    ripening: Option<Instant>,
    /// What was last complained of, so that it is said once.
    complaint: String,
}

/// An object that may be absent; `None` until that is known.
type Seen<T> = Option<Option<T>>;

impl Keeper {
    /// A keeper, and the TLS configuration that it finds.
    pub(super) fn new(client: Client, settings: &Settings) -> (Self, watch::Receiver<Option<Arc<ServerConfig>>>) {
        let (serving, tls) = watch::channel(None);
        let keeper = Self {
            client,
            namespace: settings.namespace.clone(),
            namespaces: Namespaces::default(),
            listing: BTreeMap::new(),
            listed: false,
            secret: None,
            injector: None,
            validator: None,
            serving,
            used: None,
            ripening: None,
            complaint: String::new(),
        };
        (keeper, tls)
    }

    pub(super) fn namespaces(&self) -> Namespaces {
        self.namespaces.clone()
    }

    /// Follows and repairs, without an end.
    pub(super) async fn run(mut self) {
        let mut changes = watches::all(&self.client, &self.namespace);
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                Some(change) = changes.next() => self.take(change),
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.mend(SystemTime::now()).await {
                Ok(wait) => {
                    self.complaint.clear();
                    wait
                }
                Err(error) => {
                    self.complain(&error.to_string());
                    RETRY
                }
            };
        }
    }

    fn complain(&mut self, complaint: &str) {
        if self.complaint != complaint {
            tracing::warn!(
                error = complaint,
                "the webhooks' certificate or configuration can't be kept up to date; trying again"
            );
            complaint.clone_into(&mut self.complaint);
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Namespace(event) => self.take_namespace(event),
            Change::Secret(found) => self.secret = Some(found),
            Change::Injector(found) => self.injector = Some(found),
            Change::Validator(found) => self.validator = Some(found),
        }
    }

    fn take_namespace(&mut self, event: watcher::Event<PartialObjectMeta<Namespace>>) {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(found) => {
                let marks = NamespaceMarks::of(&found.metadata);
                self.listing.insert(marks.name.clone(), marks);
            }
            watcher::Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                self.namespaces.change(|all| *all = listing);
                self.listed = true;
            }
            watcher::Event::Apply(found) => {
                let marks = NamespaceMarks::of(&found.metadata);
                self.namespaces.change(|all| {
                    all.insert(marks.name.clone(), marks);
                });
            }
            watcher::Event::Delete(found) => self.namespaces.change(|all| {
                all.remove(&found.metadata.name.unwrap_or_default());
            }),
        }
    }

    /// Does what is to be done now; says when to look again.
    async fn mend(&mut self, now: SystemTime) -> Result<Duration, Failed> {
        let Some(secret) = &self.secret else { return Ok(AT_LEISURE) };
        let data = secret.as_ref().and_then(|secret| secret.data.clone()).unwrap_or_default();
        let (data, due) = match certificate::judge(&data, now) {
            Judgement::Serves(due) => (data, due),
            Judgement::Due(kept) => {
                // A Secret that was deleted or broken: what we serve with is trusted until its successor is.
                let kept = match (kept.is_empty(), &self.used) {
                    (true, Some(used)) => certificate::signer(used, now).into_iter().collect(),
                    _ => kept,
                };
                self.renew(&kept, now).await?;
                // The watch brings what is stored, whoever of several replicas was first.
                return Ok(AT_LEISURE);
            }
        };
        let trusted = self.mend_configurations(&data).await;
        let early = self.serve(&data, &trusted)?;
        trusted?;
        Ok(early.unwrap_or_else(|| due.duration_since(now).unwrap_or_default().min(AT_LEISURE)))
    }

    async fn renew(&mut self, kept: &[String], now: SystemTime) -> Result<(), Failed> {
        let data = certificate::made(&format!("{CONTROLLER}.{}.svc", self.namespace), kept, now)
            .map_err(|error| Failed::Make(error.to_string()))?;
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let stored = match self.secret.clone().flatten() {
            None => {
                let mut secret =
                    Secret { data: Some(data), type_: Some("kubernetes.io/tls".to_owned()), ..Secret::default() };
                secret.metadata.name = Some(WEBHOOK_SECRET.to_owned());
                within(secrets.create(&PostParams::default(), &secret)).await
            }
            // Its resourceVersion makes the API server refuse it when another replica was first.
            Some(mut secret) => {
                secret.data = Some(data);
                within(secrets.replace(WEBHOOK_SECRET, &PostParams::default(), &secret)).await
            }
        };
        match stored {
            Ok(stored) => {
                tracing::info!(secret = WEBHOOK_SECRET, "made a certificate for the webhooks");
                self.secret = Some(Some(stored));
                Ok(())
            }
            Err(Failed::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn mend_configurations(&mut self, data: &Data) -> Result<(), Failed> {
        let bundle = data.get(AUTHORITY).cloned().unwrap_or_default();
        let meshed = self.listed.then(|| self.namespaces.meshed(&self.namespace));
        if let Some(Some(found)) = &self.injector
            && let Some(change) = configuration::injector(found, &self.namespace, &bundle, meshed.as_ref())
        {
            let api = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
            self.injector = Some(Some(within(api.patch(INJECTOR, &PatchParams::default(), &strategic(change))).await?));
        }
        if let Some(Some(found)) = &self.validator
            && let Some(change) = configuration::validator(found, &self.namespace, &bundle)
        {
            let api = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
            self.validator =
                Some(Some(within(api.patch(VALIDATOR, &PatchParams::default(), &strategic(change))).await?));
        }
        Ok(())
    }

    /// Takes a certificate into use. One that replaces another waits a little, until every API
    /// server has read the configurations; says how long.
    fn serve(&mut self, data: &Data, trusted: &Result<(), Failed>) -> Result<Option<Duration>, Failed> {
        let (Some(leaf), Some(key)) = (data.get(CERTIFICATE), data.get(KEY)) else { return Ok(None) };
        let is_used = |used: &Data| used.get(CERTIFICATE) == Some(leaf);
        if self.used.as_ref().is_some_and(is_used) {
            return Ok(None);
        }
        // Where nobody trusts the old one any more (somebody brought another), there is nothing to wait for.
        if self.used.as_ref().is_some_and(|used| certificate::goes_on(used, data)) {
            if trusted.is_err() {
                return Ok(None);
            }
            let ripe = *self.ripening.get_or_insert_with(|| Instant::now() + RIPENING);
            let left = ripe.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Ok(Some(left));
            }
        }
        let config = NamedServer::config(&leaf.0, &key.0).map_err(|error| Failed::Make(error.to_string()))?;
        self.serving.send_replace(Some(config));
        (self.used, self.ripening) = (Some(data.clone()), None);
        Ok(None)
    }
}

fn strategic(change: Value) -> Patch<Value> {
    Patch::Strategic(change)
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failed::Silent),
    }
}

/// Why something could not be kept up to date.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{}", failed("write it", .0))]
    Api(#[from] kube::Error),
    #[error("the API server doesn't answer")]
    Silent,
    #[error("no certificate can be made or used: {0}")]
    Make(String),
}

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(5);
/// Wall time goes on while a machine sleeps, so the next look is never far.
const AT_LEISURE: Duration = Duration::from_secs(600);
/// API servers follow webhook configurations by watches of their own.
const RIPENING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_answer_is_given_up_for_now() {
        let begun = tokio::time::Instant::now();
        let silent = within(std::future::pending::<kube::Result<()>>()).await;
        assert!(matches!(silent, Err(Failed::Silent)));
        assert_eq!(begun.elapsed(), CALL_TIMEOUT);
    }
}
