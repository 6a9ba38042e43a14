//! Who is sent which record: the state behind delta xDS, as a pure structure.
//!
//! A subscriber asks for names or aliases; what it asked and what it holds stand here, and
//! [`Distribution::next`] tells the difference as one response, so that however much changes
//! while a subscriber is slow, nothing queues up but names. An unknown name is answered at once
//! with `removed_resources`, and sent when it appears. A name is given up in the words in which it
//! was asked for. There are no wildcards. This module knows no socket, no clock and no policy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weft_mesh::WorkloadId;
use weft_wire::proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_TYPE};

use crate::hash::fnv1a;
use interest::{Interest, Published};

mod interest;

/// One subscriber's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriberId(u64);

/// Everything that is published, and everyone who asked for something.
#[derive(Debug, Default)]
pub(crate) struct Distribution {
    catalog: Catalog,
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    /// The streams of each workload's proxy.
    streams: HashMap<WorkloadId, BTreeSet<SubscriberId>>,
    /// Who asked for a name, in the words of the asker.
    interest: HashMap<(Kind, String), BTreeSet<SubscriberId>>,
    last_id: u64,
}

/// What a subscriber's stream does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// It sends this.
    Send(DeltaDiscoveryResponse),
    /// It waits until it is woken.
    Wait,
    /// It ends: its workload has ended.
    End,
}

/// Why a request ends its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// The type isn't one of the three.
    #[error("expected the type of a record, found {0:?}")]
    Type(String),
    /// Inbound records are their own workload's affair.
    #[error("expected the name of the proxy's own workload, found {0:?}")]
    Foreign(String),
    /// More names than a stream may ask for.
    #[error("expected at most {MAX_NAMES} names of a type, of at most {MAX_NAME_BYTES} bytes each")]
    TooMany,
    /// More streams than a workload may have.
    #[error("expected at most {MAX_STREAMS} streams of one workload")]
    Streams,
    /// The stream was ended before.
    #[error("expected a stream of a workload that runs")]
    Ended,
}

/// A record that a proxy refused and holds no newer one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose proxy.
    pub workload: WorkloadId,
    /// The record's name.
    pub record: String,
    /// What the proxy said.
    pub reason: String,
}

/// How far a workload's proxy follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its streams.
    pub streams: u32,
    /// Responses on them that it hasn't answered.
    pub unacknowledged: u32,
    /// The version of the inbound record that is published for it; empty when there is none.
    pub inbound_version: String,
    /// How far that record has come.
    pub inbound: Delivery,
}

/// How far a record has come to a proxy; of several streams the furthest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// It wasn't sent: there is no such record, no stream, or one that is slow.
    Unsent,
    /// It was sent, and not answered yet.
    Sent,
    /// The proxy refused it, and goes on with an older one.
    Refused,
    /// The proxy runs it.
    Acknowledged,
}

/// The kinds of records, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Trust,
    Inbound,
    Destination,
}

/// The records by name and by alias.
#[derive(Debug, Default)]
struct Catalog {
    records: HashMap<(Kind, String), Arc<Published>>,
    /// Two can have an address while one of them is about to lose it: the first by name is meant.
    aliases: HashMap<(Kind, String), BTreeSet<String>>,
}

#[derive(Debug)]
struct Subscriber {
    workload: WorkloadId,
    ended: bool,
    last_nonce: u64,
    interests: BTreeMap<Kind, Interest>,
}

impl Distribution {
    /// Publishes a record, encoded once for everyone. Returns whom to wake.
    pub(crate) fn publish(&mut self, record: &Record) -> BTreeSet<SubscriberId> {
        let kind = Kind::of(record);
        let bytes = record.encode();
        let key = (kind, record.name().to_owned());
        let old = self.catalog.records.get(&key).cloned();
        if old.as_ref().is_some_and(|old| old.bytes == bytes) {
            return BTreeSet::new();
        }
        let version = format!("{:032x}", fnv1a(&bytes));
        let new = Published { name: key.1.clone(), version, aliases: record.aliases(), bytes };
        let new = Arc::new(new);
        self.catalog.replace(key, old.as_ref(), Some(&new));
        self.changed(kind, [old, Some(new)])
    }

    /// Withdraws a record. Returns whom to wake.
    pub(crate) fn withdraw(&mut self, kind: Kind, name: &str) -> BTreeSet<SubscriberId> {
        let key = (kind, name.to_owned());
        let Some(old) = self.catalog.records.get(&key).cloned() else { return BTreeSet::new() };
        self.catalog.replace(key, Some(&old), None);
        self.changed(kind, [Some(old), None])
    }

    /// A new stream of the workload's proxy.
    ///
    /// # Errors
    /// [`RequestError::Streams`].
    pub(crate) fn subscribe(&mut self, workload: WorkloadId) -> Result<SubscriberId, RequestError> {
        let streams = self.streams.entry(workload.clone()).or_default();
        if streams.len() >= MAX_STREAMS {
            return Err(RequestError::Streams);
        }
        self.last_id += 1;
        let id = SubscriberId(self.last_id);
        streams.insert(id);
        let subscriber = Subscriber { workload, ended: false, last_nonce: 0, interests: BTreeMap::new() };
        self.subscribers.insert(id, subscriber);
        Ok(id)
    }

    /// Forgets a stream.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId) {
        let Some(subscriber) = self.subscribers.remove(&id) else { return };
        if let Some(streams) = self.streams.get_mut(&subscriber.workload) {
            streams.remove(&id);
            if streams.is_empty() {
                self.streams.remove(&subscriber.workload);
            }
        }
        for (kind, interest) in subscriber.interests {
            for name in interest.names() {
                self.uninterested(id, kind, name);
            }
        }
    }

    /// Ends every stream of a workload. Returns whom to wake.
    pub(crate) fn end(&mut self, workload: &WorkloadId) -> BTreeSet<SubscriberId> {
        let theirs = self.streams.get(workload).cloned().unwrap_or_default();
        for id in &theirs {
            if let Some(subscriber) = self.subscribers.get_mut(id) {
                subscriber.ended = true;
            }
        }
        theirs
    }

    /// Takes a request in. [`Distribution::next`] tells what it leads to.
    ///
    /// # Errors
    /// [`RequestError`]: the stream is to be ended.
    pub(crate) fn request(&mut self, id: SubscriberId, request: DeltaDiscoveryRequest) -> Result<(), RequestError> {
        let kind = Kind::read(&request.type_url)?;
        let subscriber = self.subscribers.get_mut(&id).filter(|known| !known.ended).ok_or(RequestError::Ended)?;
        subscriber.check(kind, &request)?;
        let interest = subscriber.interests.entry(kind).or_default();
        if !request.response_nonce.is_empty() {
            interest.answer(&request.response_nonce, request.error_detail.map(|status| status.message));
        }
        interest.begin(&self.catalog, kind, request.initial_resource_versions, &request.resource_names_subscribe);
        for name in &request.resource_names_unsubscribe {
            interest.give_up(name);
        }
        let crowded = interest.names().count() > MAX_NAMES;
        for name in request.resource_names_subscribe {
            self.interest.entry((kind, name)).or_default().insert(id);
        }
        for name in request.resource_names_unsubscribe {
            self.uninterested(id, kind, &name);
        }
        if crowded { Err(RequestError::TooMany) } else { Ok(()) }
    }

    /// What the stream does next. A response that was returned counts as sent.
    pub(crate) fn next(&mut self, id: SubscriberId) -> Next {
        let Some(subscriber) = self.subscribers.get_mut(&id).filter(|known| !known.ended) else { return Next::End };
        for (&kind, interest) in &mut subscriber.interests {
            let Some(difference) = interest.difference(&self.catalog, kind) else { continue };
            subscriber.last_nonce += 1;
            let nonce = subscriber.last_nonce.to_string();
            interest.sent(nonce.clone(), &difference);
            return Next::Send(difference.into_response(kind, nonce));
        }
        Next::Wait
    }

    /// Records that proxies refused, for status.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let of = |subscriber: &Subscriber| {
            let refused = subscriber.interests.values().flat_map(Interest::refused);
            let workload = subscriber.workload.clone();
            let each = move |(record, reason): (&String, &String)| Refusal {
                workload: workload.clone(),
                record: record.clone(),
                reason: reason.clone(),
            };
            refused.map(each).collect::<Vec<_>>()
        };
        self.subscribers.values().flat_map(of).collect()
    }

    /// How far a workload's proxy follows, for status.
    pub(crate) fn standing(&self, workload: &WorkloadId) -> Standing {
        let inbound = self.catalog.records.get(&(Kind::Inbound, workload.as_str().to_owned()));
        let streams = self.streams.get(workload).into_iter().flatten().filter_map(|id| self.subscribers.get(id));
        let mut standing = Standing {
            streams: 0,
            unacknowledged: 0,
            inbound_version: inbound.map(|record| record.version.clone()).unwrap_or_default(),
            inbound: Delivery::Unsent,
        };
        for subscriber in streams {
            let unanswered: usize = subscriber.interests.values().map(Interest::unanswered).sum();
            standing.streams += 1;
            standing.unacknowledged =
                standing.unacknowledged.saturating_add(u32::try_from(unanswered).unwrap_or(u32::MAX));
            if let Some((record, interest)) = inbound.zip(subscriber.interests.get(&Kind::Inbound)) {
                standing.inbound = standing.inbound.max(interest.delivery(record));
            }
        }
        standing
    }

    /// The workloads whose proxies have acknowledged their newest inbound record.
    pub(crate) fn current(&self) -> BTreeSet<WorkloadId> {
        let is_current = |subscriber: &&Subscriber| {
            !subscriber.ended && subscriber.interests.get(&Kind::Inbound).is_some_and(Interest::is_settled)
        };
        self.subscribers.values().filter(is_current).map(|subscriber| subscriber.workload.clone()).collect()
    }

    fn changed(&mut self, kind: Kind, records: [Option<Arc<Published>>; 2]) -> BTreeSet<SubscriberId> {
        let mut wake = BTreeSet::new();
        let names: BTreeSet<&String> =
            records.iter().flatten().flat_map(|record| record.aliases.iter().chain([&record.name])).collect();
        for name in names {
            let Some(interested) = self.interest.get(&(kind, name.clone())) else { continue };
            for id in interested {
                let interest = self.subscribers.get_mut(id).and_then(|known| known.interests.get_mut(&kind));
                interest.into_iter().for_each(|interest| interest.look_at(name));
                wake.insert(*id);
            }
        }
        wake
    }

    fn uninterested(&mut self, id: SubscriberId, kind: Kind, name: &str) {
        let key = (kind, name.to_owned());
        if let Some(interested) = self.interest.get_mut(&key) {
            interested.remove(&id);
            if interested.is_empty() {
                self.interest.remove(&key);
            }
        }
    }
}

impl Catalog {
    /// The record that is meant by a name or an alias.
    fn resolve(&self, kind: Kind, name: &str) -> Option<&Arc<Published>> {
        let key = (kind, name.to_owned());
        if let Some(record) = self.records.get(&key) {
            return Some(record);
        }
        let first = self.aliases.get(&key)?.first()?;
        self.records.get(&(kind, first.clone()))
    }

    fn replace(&mut self, key: (Kind, String), old: Option<&Arc<Published>>, new: Option<&Arc<Published>>) {
        for alias in old.iter().flat_map(|old| &old.aliases) {
            let alias = (key.0, alias.clone());
            if let Some(names) = self.aliases.get_mut(&alias) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.aliases.remove(&alias);
                }
            }
        }
        for alias in new.iter().flat_map(|new| &new.aliases) {
            self.aliases.entry((key.0, alias.clone())).or_default().insert(key.1.clone());
        }
        match new {
            Some(new) => self.records.insert(key, Arc::clone(new)),
            None => self.records.remove(&key),
        };
    }
}

impl Subscriber {
    fn check(&self, kind: Kind, request: &DeltaDiscoveryRequest) -> Result<(), RequestError> {
        let versions = &request.initial_resource_versions;
        let mut asked = request.resource_names_subscribe.iter();
        if request.resource_names_subscribe.len().max(versions.len()) > MAX_NAMES
            || asked.clone().chain(versions.keys()).any(|name| name.len() > MAX_NAME_BYTES)
        {
            return Err(RequestError::TooMany);
        }
        match asked.find(|name| kind == Kind::Inbound && *name != self.workload.as_str()) {
            Some(foreign) => Err(RequestError::Foreign(foreign.clone())),
            None => Ok(()),
        }
    }
}

impl Kind {
    fn of(record: &Record) -> Self {
        match record {
            Record::Inbound(_) => Self::Inbound,
            Record::Destination(_) => Self::Destination,
            Record::Trust(_) => Self::Trust,
        }
    }

    fn read(type_url: &str) -> Result<Self, RequestError> {
        match type_url {
            INBOUND_TYPE => Ok(Self::Inbound),
            DESTINATION_TYPE => Ok(Self::Destination),
            TRUST_TYPE => Ok(Self::Trust),
            other => Err(RequestError::Type(other.to_owned())),
        }
    }

    fn type_url(self) -> &'static str {
        match self {
            Self::Inbound => INBOUND_TYPE,
            Self::Destination => DESTINATION_TYPE,
            Self::Trust => TRUST_TYPE,
        }
    }
}

/// A proxy asks for what its program calls: more than this many destinations is a mistake.
const MAX_NAMES: usize = 8192;
/// A DNS name has at most 253 bytes, a workload's id 512.
const MAX_NAME_BYTES: usize = 512;
/// A proxy has one stream, and a second one while it reconnects.
const MAX_STREAMS: usize = 4;

#[cfg(test)]
mod tests;
