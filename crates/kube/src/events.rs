//! Events: what a pod's owner is told about its injection. They are posted in the background,
//! each once in a while, and nothing waits for them.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;

use crate::inject::{Reason, Unmeshed};

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Notice {
    subject: Subject,
    what: What,
    note: String,
}

/// Whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    namespace: String,
    api_version: String,
    kind: String,
    name: String,
    uid: Option<String>,
    /// The Deployment that owns the ReplicaSet that `name` is.
    deployment: Option<String>,
}

/// The events there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Injected,
    InjectionSkipped,
    ProxyMissing,
}

impl Notice {
    /// A pod got its proxy; `remarks` are on what had no effect.
    pub(crate) fn injected(pod: &Pod, namespace: &str, remarks: &[String]) -> Option<Self> {
        let note = match remarks {
            [] => "proxy injected".to_owned(),
            remarks => format!("proxy injected; {}", remarks.join("; ")),
        };
        Some(Self { subject: Subject::owner(pod, namespace)?, what: What::Injected, note })
    }

    /// A pod got none; `None` where nobody could have expected one.
    pub(crate) fn skipped(pod: &Pod, namespace: &str, reasons: &[Reason]) -> Option<Self> {
        let news: Vec<String> = reasons.iter().filter(|reason| reason.is_news()).map(Reason::to_string).collect();
        if news.is_empty() {
            return None;
        }
        let note = format!("no proxy injected: {}", news.join("; "));
        Some(Self { subject: Subject::owner(pod, namespace)?, what: What::InjectionSkipped, note })
    }

    /// A pod runs without the proxy that it should have.
    pub(crate) fn missing(pod: &Unmeshed) -> Self {
        let subject = Subject {
            namespace: pod.namespace.clone(),
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: pod.name.clone(),
            uid: Some(pod.uid.clone()),
            deployment: None,
        };
        let note = "the pod should have a proxy and runs without one, outside the mesh: restart it, for example with \
                    kubectl rollout restart";
        Self { subject, what: What::ProxyMissing, note: note.to_owned() }
    }
}

impl Subject {
    /// Who made a pod, as far as it says; else the pod.
    fn owner(pod: &Pod, namespace: &str) -> Option<Self> {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let namespace = namespace.to_owned();
        let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else {
            let (api_version, kind) = ("v1".to_owned(), "Pod".to_owned());
            let (name, uid) = (pod.metadata.name.clone()?, pod.metadata.uid.clone());
            return Some(Self { namespace, api_version, kind, name, uid, deployment: None });
        };
        let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
        let stem = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        Some(Self {
            namespace,
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: Some(owner.uid.clone()),
            deployment: stem.filter(|_| owner.kind == "ReplicaSet").map(str::to_owned),
        })
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.clone()),
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

impl What {
    /// Reason, action and type of the event.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Injected => ("Injected", "Inject", "Normal"),
            Self::InjectionSkipped => ("InjectionSkipped", "Inject", "Warning"),
            Self::ProxyMissing => ("ProxyMissing", "Watch", "Warning"),
        }
    }
}

/// The way to the poster.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Notice>,
}

impl Events {
    /// The way to the poster, and the poster, which runs until every way to it is gone.
    pub fn new(client: Client) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        (Self { queue }, post_all(client, waiting))
    }

    /// Tells that a pod runs without the proxy that it should have.
    ///
    /// # Errors
    /// When too many events wait already: this one is dropped.
    pub fn proxy_missing(&self, pod: &Unmeshed) -> Result<(), Dropped> {
        self.post(Notice::missing(pod))
    }

    /// Hands in an event, and never waits.
    ///
    /// # Errors
    /// When too many wait already: this one is dropped.
    pub(crate) fn post(&self, notice: Notice) -> Result<(), Dropped> {
        self.queue.try_send(notice).map_err(|_| Dropped)
    }
}

/// An event that will never be posted, since too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many events wait to be posted")]
pub struct Dropped;

async fn post_all(client: Client, mut waiting: mpsc::Receiver<Notice>) {
    let (mut told, mut budget) = (Told::default(), Budget::full(Instant::now()));
    while let Some(notice) = waiting.recv().await {
        let now = Instant::now();
        if !budget.has(now) {
            if budget.is_news(now) {
                tracing::warn!("more events are to be posted than the API server should keep: the rest is left out");
            }
            continue;
        }
        if !told.is_news(&notice, now) {
            continue;
        }
        budget.spend();
        let posted = tokio::time::timeout(POST_TIMEOUT, post(&client, &notice)).await;
        match posted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, note = notice.note, "no event posted"),
            Err(_) => tracing::debug!(note = notice.note, "no event posted: the API server is silent"),
        }
    }
}

/// How many events may be posted. Whoever reaches the webhooks can ask about pods that there aren't, of which each
/// would be news, and the API server keeps every event for an hour.
#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
    told: Option<Instant>,
}

impl Budget {
    fn full(now: Instant) -> Self {
        Self { left: MAX_AT_ONCE, at: now, told: None }
    }

    fn has(&mut self, now: Instant) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + passed * MAX_PER_SECOND).min(MAX_AT_ONCE), now);
        self.left >= 1.0
    }

    fn spend(&mut self) {
        self.left -= 1.0;
    }

    /// Whether it wasn't said lately that there is nothing left.
    fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|at| now.duration_since(at) >= REPEATED_AFTER);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

/// What was told lately: a rollout of a hundred pods is one event.
#[derive(Debug, Default)]
struct Told {
    at: HashMap<Notice, Instant>,
}

impl Told {
    fn is_news(&mut self, notice: &Notice, now: Instant) -> bool {
        let recent = |at: &Instant| now.duration_since(*at) < REPEATED_AFTER;
        if self.at.get(notice).is_some_and(recent) {
            return false;
        }
        if self.at.len() >= MAX_TOLD {
            self.at.retain(|_, at| recent(at));
        }
        if self.at.len() >= MAX_TOLD {
            self.at.clear();
        }
        self.at.insert(notice.clone(), now);
        true
    }
}

async fn post(client: &Client, notice: &Notice) -> kube::Result<()> {
    let mut regarding = notice.subject.reference();
    if let Some(name) = &notice.subject.deployment {
        // Without its uid, `kubectl describe` wouldn't show the event; the ReplicaSet does as well.
        let deployments = Api::<Deployment>::namespaced(client.clone(), &notice.subject.namespace);
        if let Ok(found) = deployments.get_metadata(name).await {
            regarding.kind = Some("Deployment".to_owned());
            regarding.name = Some(name.clone());
            regarding.uid = found.metadata.uid;
        }
    }
    let event = event(notice, regarding, Timestamp::now());
    let events = Api::<Event>::namespaced(client.clone(), &notice.subject.namespace);
    events.create(&PostParams::default(), &event).await.map(|_| ())
}

fn event(notice: &Notice, regarding: ObjectReference, now: Timestamp) -> Event {
    let (reason, action, kind) = notice.what.words();
    let name: String = notice.subject.name.chars().take(200).collect();
    Event {
        metadata: ObjectMeta {
            namespace: Some(notice.subject.namespace.clone()),
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some("weft.io/controller".to_owned()),
        reporting_instance: Some("weft-controller".to_owned()),
        action: Some(action.to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(cut(&notice.note)),
        type_: Some(kind.to_owned()),
        regarding: Some(regarding),
        ..Event::default()
    }
}

/// The API server takes a note of 1,024 bytes at most.
fn cut(note: &str) -> String {
    if note.len() <= MAX_NOTE_BYTES {
        return note.to_owned();
    }
    let end = (0..=MAX_NOTE_BYTES - '…'.len_utf8()).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &note[..end])
}

const MAX_NOTE_BYTES: usize = 1024;
const MAX_WAITING: usize = 256;
const MAX_TOLD: usize = 4096;
/// As many workloads may be restarted at once, each of which is an event.
const MAX_AT_ONCE: f64 = 1000.0;
/// The API server keeps 7,200 of them at most, beside those: some MiB.
const MAX_PER_SECOND: f64 = 2.0;
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// Events live for an hour in the API server.
const REPEATED_AFTER: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests;
