//! The watches: what the API server tells, brought to events of the model as it comes. An edge: it
//! keeps no object, decides nothing, and never gives up.
//!
//! A list is read once, page by page; from then on changes come by themselves, resumed where a broken
//! connection left off. Where the API server has forgotten so far, the list is read again and told as
//! [`Event::Listed`].

mod patient;

use std::collections::HashSet;
use std::fmt::Debug;
use std::mem;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(crate) use self::patient::patient;
use crate::client::failed;
use crate::model::namespace::Namespace;
use crate::model::pod::Pod;
use crate::model::policy::{Policy, PolicyKind};
use crate::model::service::Service;
use crate::model::slice::Slice;
use crate::model::{Event, Kind, Name};

/// What the watches tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// Something of the cluster.
    Event(Event),
    /// A kind can't be watched now, and why; what was known of it stands.
    Broken(Kind, String),
    /// It can again.
    Mended(Kind),
}

/// Watches everything, until the set is dropped or nobody listens any more.
pub(crate) fn all(client: &Client, told: &Sender<Told>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let to = |kind| Watch { kind, told: told.clone(), is_broken: false, is_heard: false };
    tasks.spawn(to(Kind::Namespace).follow(Api::all(client.clone()), |name, found: Option<core::Namespace>| {
        Event::Namespace(name, found.as_ref().map(Namespace::read))
    }));
    tasks.spawn(to(Kind::Pod).follow(Api::all(client.clone()), |name, found: Option<core::Pod>| {
        Event::Pod(name, found.as_ref().map(|pod| Box::new(Pod::read(pod))))
    }));
    tasks.spawn(to(Kind::Service).follow(Api::all(client.clone()), |name, found: Option<core::Service>| {
        Event::Service(name, found.as_ref().map(Service::read))
    }));
    tasks.spawn(to(Kind::Slice).follow(Api::all(client.clone()), |name, found: Option<EndpointSlice>| {
        Event::Slice(name, found.as_ref().and_then(Slice::read))
    }));
    for kind in PolicyKind::ALL {
        tasks.spawn(to(Kind::Policy(kind)).policies(client.clone(), kind));
    }
    tasks
}

/// One kind's watch.
struct Watch {
    kind: Kind,
    told: Sender<Told>,
    is_broken: bool,
    /// Whether anything came since the kind was unknown.
    is_heard: bool,
}

/// Why a stream of events is left.
enum Left {
    /// The API server serves no such kind.
    Unknown,
    /// A watch may not begin any more. A list tells why, and when it may again; a watch that is resumed says
    /// nothing until something changes.
    Refused,
    /// Nobody listens.
    Unheard,
}

impl Watch {
    async fn follow<K>(mut self, api: Api<K>, event: impl Fn(Name, Option<K>) -> Event)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        loop {
            match self.stream(events(api.clone()), &event).await {
                Left::Unheard => return,
                Left::Refused => sleep(REFUSED_PAUSE).await,
                Left::Unknown => {
                    self.broken("the API server doesn't serve them".to_owned()).await;
                    sleep(LONGEST_PAUSE).await;
                }
            }
        }
    }

    /// Policies, of whichever version the cluster has. Of an unknown kind there are none: who deletes a resource
    /// definition deletes its objects. What was known of them goes once the API server has said so twice.
    async fn policies(mut self, client: Client, kind: PolicyKind) {
        let event = |name, found: Option<DynamicObject>| {
            Event::Policy(kind, name, found.as_ref().map(|object| Policy::read(kind, object)))
        };
        'versions: loop {
            for version in PolicyKind::VERSIONS {
                let stream = events(Api::all_with(client.clone(), &kind.resource(version)));
                match self.stream(stream, &event).await {
                    Left::Unknown => {}
                    Left::Refused => {
                        sleep(REFUSED_PAUSE).await;
                        continue 'versions;
                    }
                    Left::Unheard => return,
                }
            }
            let missing = format!(
                "the API server has no kind {} of {}: weft install --crds prints it",
                kind.as_str(),
                PolicyKind::GROUP
            );
            self.broken(missing).await;
            if !mem::take(&mut self.is_heard) {
                self.tell(Told::Event(Event::Listed(self.kind, HashSet::new()))).await;
            }
            sleep(CRD_PAUSE).await;
        }
    }

    /// Follows a stream as long as the kind is served.
    async fn stream<K>(&mut self, mut stream: Events<K>, event: &impl Fn(Name, Option<K>) -> Event) -> Left
    where
        K: Resource + Clone + 'static,
    {
        let mut listed = HashSet::new();
        let mut pause = SHORTEST_PAUSE;
        while !self.told.is_closed() {
            // It never ends by itself.
            let Some(found) = stream.next().await else { return Left::Unheard };
            match found {
                Ok(found) => {
                    // That a list begins is said before the API server is asked for it.
                    if !matches!(found, watcher::Event::Init) {
                        pause = SHORTEST_PAUSE;
                        self.is_heard = true;
                        self.mended().await;
                    }
                    if let Some(event) = self.event(found, &mut listed, event) {
                        self.tell(Told::Event(event)).await;
                    }
                }
                Err(error) if is_unknown(&error) => return Left::Unknown,
                Err(error) if is_refused(&error) => {
                    if is_clear(&error) {
                        self.broken(reason(&error)).await;
                    }
                    return Left::Refused;
                }
                Err(error) if is_forgotten(&error) => sleep(SHORTEST_PAUSE).await,
                Err(error) => {
                    self.broken(reason(&error)).await;
                    sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
        Left::Unheard
    }

    fn event<K: ResourceExt>(
        &self,
        found: watcher::Event<K>,
        listed: &mut HashSet<Name>,
        event: &impl Fn(Name, Option<K>) -> Event,
    ) -> Option<Event> {
        match found {
            watcher::Event::Init => {
                listed.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                listed.insert(name(&object));
                Some(event(name(&object), Some(object)))
            }
            watcher::Event::InitDone => Some(Event::Listed(self.kind, mem::take(listed))),
            watcher::Event::Apply(object) => Some(event(name(&object), Some(object))),
            watcher::Event::Delete(object) => Some(event(name(&object), None)),
        }
    }

    async fn broken(&mut self, reason: String) {
        self.is_broken = true;
        self.tell(Told::Broken(self.kind, reason)).await;
    }

    async fn mended(&mut self) {
        if mem::take(&mut self.is_broken) {
            self.tell(Told::Mended(self.kind)).await;
        }
    }

    async fn tell(&self, told: Told) {
        // Who doesn't listen any more ends us.
        let _ = self.told.send(told).await;
    }
}

type Events<K> = BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>;

fn events<K>(api: Api<K>) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).boxed()
}

fn name(object: &impl ResourceExt) -> Name {
    Name { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn is_unknown(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// Whether a watch may not begin any more: the right is gone, or the kind itself, of which the API server
/// then says so in plain text.
fn is_refused(error: &watcher::Error) -> bool {
    use watcher::Error::{WatchFailed, WatchStartFailed};
    match error {
        WatchStartFailed(kube::Error::Api(status)) | WatchFailed(kube::Error::Api(status)) => {
            status.is_forbidden() || status.code == 404
        }
        WatchStartFailed(kube::Error::SerdeError(_)) | WatchFailed(kube::Error::SerdeError(_)) => true,
        _ => false,
    }
}

/// Whether the list is only to be read again: the API server keeps changes for minutes only.
fn is_forgotten(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

/// Whether it says what is wrong; a list that follows does in any case.
fn is_clear(error: &watcher::Error) -> bool {
    use watcher::Error::{WatchFailed, WatchStartFailed};
    !matches!(error, WatchFailed(kube::Error::SerdeError(_)) | WatchStartFailed(kube::Error::SerdeError(_)))
}

/// Why a watch broke, in one line.
fn reason(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => failed("list them", error).to_string(),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            failed("watch them", error).to_string()
        }
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// What comes back, such as a right, counts within this time.
const REFUSED_PAUSE: Duration = Duration::from_secs(4);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// A cluster whose API server comes back is followed again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How soon a kind that is installed later is seen.
const CRD_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
