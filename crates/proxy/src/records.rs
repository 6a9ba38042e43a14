//! What the data thread knows of the mesh: its own inbound record, its credential and trust, and
//! the destinations that its program talks to. A destination is asked for when it is first used,
//! and whoever needs it waits, bounded. No I/O: orders go to the control thread, updates come from it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use weft_identity::{Credential, MeshTls};
use weft_mesh::record::{Destination, Inbound, Trust};
use weft_wire::head;

use crate::hbone;
use crate::limits::{DESTINATION_IDLE, RECORD_WAIT, SUBSCRIPTIONS};
use crate::service::Service;
use crate::why::{Cause, Failure};

/// What the control thread tells.
pub enum Update {
    /// The workload's own record.
    Inbound(Box<Inbound>),
    /// A destination's record.
    Destination(Box<Destination>),
    /// There is no destination of this name or address, or no more.
    Gone(String),
    /// Whom to trust.
    Trust(Trust),
    /// Who this proxy is.
    Credential(Arc<Credential>),
}

/// What the control thread is asked for: a destination by its host or by an address, as text. There
/// are at most two orders for each name that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To be told of it from now on.
    Subscribe(String),
    /// Not to be told any more.
    Unsubscribe(String),
}

/// What an update changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Who may call: open connections are to be judged again.
    Inbound,
    /// Who this proxy is or whom it trusts: warm connections are of the old kind.
    Tls,
    /// A destination.
    Destination,
}

/// This proxy's identity and trust at one time.
pub struct MeshIdentity {
    /// Makes configurations for calls.
    pub tls: MeshTls,
    /// The configuration for callers.
    pub server: Arc<ServerConfig>,
    /// Which identity and trust this is; a higher number is newer.
    pub generation: u64,
}

/// The records of one data thread.
pub struct Records {
    inbound: RefCell<Option<Rc<Inbound>>>,
    identity: RefCell<Option<Rc<MeshIdentity>>>,
    parts: RefCell<(Option<Arc<Credential>>, Option<Trust>)>,
    generation: Cell<u64>,
    version: Cell<u64>,
    own: Notify,
    destinations: RefCell<Destinations>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Default)]
struct Destinations {
    by_host: HashMap<Rc<str>, Rc<Service>>,
    by_address: HashMap<IpAddr, Rc<str>>,
    asked: HashMap<Key, Asked>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Host(String),
    Address(IpAddr),
}

struct Asked {
    state: State,
    used: Instant,
}

enum State {
    Waiting(Rc<Notify>),
    Known,
    Absent,
}

impl Records {
    /// Knows nothing yet; asks by `orders`.
    pub fn new(orders: mpsc::UnboundedSender<Order>) -> Self {
        Self {
            inbound: RefCell::default(),
            identity: RefCell::default(),
            parts: RefCell::default(),
            generation: Cell::new(0),
            version: Cell::new(0),
            own: Notify::new(),
            destinations: RefCell::default(),
            orders,
        }
    }

    /// Takes what the control thread tells.
    ///
    /// # Errors
    /// A text for logs, when it can't be used; what was known before stays.
    pub fn apply(&self, update: Update, now: Instant) -> Result<Changed, String> {
        match update {
            Update::Inbound(record) => {
                *self.inbound.borrow_mut() = Some(Rc::new(*record));
                self.own.notify_waiters();
                return Ok(Changed::Inbound);
            }
            Update::Destination(record) => self.destinations.borrow_mut().put(*record, now),
            Update::Gone(name) => self.destinations.borrow_mut().remove(&name),
            Update::Trust(trust) => return self.renew_identity(None, Some(trust)),
            Update::Credential(credential) => return self.renew_identity(Some(credential), None),
        }
        self.version.set(self.version.get() + 1);
        Ok(Changed::Destination)
    }

    /// Who may call.
    ///
    /// # Errors
    /// [`Cause::Unjudged`], when it doesn't come in time.
    pub async fn inbound(&self) -> Result<Rc<Inbound>, Failure> {
        self.wait_own(|| self.inbound.borrow().clone(), "inbound record").await
    }

    /// The inbound record, if it is there.
    pub fn inbound_now(&self) -> Option<Rc<Inbound>> {
        self.inbound.borrow().clone()
    }

    /// Who this proxy is.
    ///
    /// # Errors
    /// [`Cause::Unjudged`], when certificate or trust don't come in time.
    pub async fn identity(&self) -> Result<Rc<MeshIdentity>, Failure> {
        self.wait_own(|| self.identity.borrow().clone(), "certificate").await
    }

    /// Which identity and trust hold now; 0 when there are none yet.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A number that changes with every destination that comes or goes.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Whether the proxy can serve.
    pub fn is_ready(&self) -> bool {
        self.inbound.borrow().is_some() && self.identity.borrow().is_some()
    }

    /// Waits, without bound, until the proxy can serve.
    pub async fn ready(&self) {
        loop {
            let changed = self.own.notified();
            if self.is_ready() {
                return;
            }
            changed.await;
        }
    }

    /// The service that has an address, or one of whose endpoints has it; `None` when there is none.
    ///
    /// # Errors
    /// [`Cause::Unjudged`], when nobody answers in time; [`Cause::Limit`].
    pub async fn by_address(&self, ip: IpAddr) -> Result<Option<Rc<Service>>, Failure> {
        let found = self.destinations.borrow().at_address(ip);
        match found {
            Some(service) => Ok(Some(service)),
            None => self.ask(Key::Address(ip)).await,
        }
    }

    /// The service of a full name; `None` when there is none.
    ///
    /// # Errors
    /// As [`Records::by_address`].
    pub async fn by_host(&self, host: &str) -> Result<Option<Rc<Service>>, Failure> {
        let found = self.destinations.borrow().at_host(host);
        match found {
            Some(service) => Ok(Some(service)),
            None => self.ask(Key::Host(host.to_owned())).await,
        }
    }

    /// Gives up destinations that nobody has used for a while. Returns whether any are left.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut destinations = self.destinations.borrow_mut();
        for key in destinations.unused(now) {
            // The control thread is gone only when the process ends.
            let _ended = self.orders.send(Order::Unsubscribe(key.text()));
        }
        !destinations.asked.is_empty()
    }

    async fn ask(&self, key: Key) -> Result<Option<Rc<Service>>, Failure> {
        let deadline = Instant::now() + RECORD_WAIT;
        loop {
            let arrived = match self.destinations.borrow_mut().look(&key, &self.orders)? {
                Looked::Found(service) => return Ok(service),
                Looked::Wait(arrived) => arrived,
            };
            let notified = arrived.notified();
            // Nothing can have come between the look and this line: there is one thread.
            if tokio::time::timeout_at(deadline, notified).await.is_err() {
                let detail = format!("no record of {} within {} s", key.text(), RECORD_WAIT.as_secs());
                return Err(Failure::outbound(Cause::Unjudged, detail));
            }
        }
    }

    async fn wait_own<T>(&self, read: impl Fn() -> Option<T>, what: &str) -> Result<T, Failure> {
        let deadline = Instant::now() + RECORD_WAIT;
        loop {
            let changed = self.own.notified();
            if let Some(found) = read() {
                return Ok(found);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let detail = format!("no {what} within {} s", RECORD_WAIT.as_secs());
                return Err(Failure::inbound(Cause::Unjudged, detail));
            }
        }
    }

    fn renew_identity(&self, credential: Option<Arc<Credential>>, trust: Option<Trust>) -> Result<Changed, String> {
        let old = self.parts.borrow().clone();
        let parts = (credential.or(old.0), trust.or(old.1));
        if let (Some(credential), Some(trust)) = &parts {
            let tls = MeshTls::new(credential.clone(), trust).map_err(|e| e.to_string())?;
            let server = tls.server_config(&[head::ALPN, hbone::ALPN]);
            let generation = self.generation.get() + 1;
            self.generation.set(generation);
            *self.identity.borrow_mut() = Some(Rc::new(MeshIdentity { tls, server, generation }));
            self.own.notify_waiters();
        }
        *self.parts.borrow_mut() = parts;
        Ok(Changed::Tls)
    }
}

enum Looked {
    Found(Option<Rc<Service>>),
    Wait(Rc<Notify>),
}

impl Destinations {
    fn at_address(&self, ip: IpAddr) -> Option<Rc<Service>> {
        self.at_host(self.by_address.get(&ip)?)
    }

    fn at_host(&self, host: &str) -> Option<Rc<Service>> {
        let service = self.by_host.get(host)?;
        service.used.set(Instant::now());
        Some(service.clone())
    }

    fn find(&self, key: &Key) -> Option<Rc<Service>> {
        match key {
            Key::Host(host) => self.at_host(host),
            Key::Address(ip) => self.at_address(*ip),
        }
    }

    /// What is known of `key`; asks for it when nobody has.
    fn look(&mut self, key: &Key, orders: &mpsc::UnboundedSender<Order>) -> Result<Looked, Failure> {
        if let Some(service) = self.find(key) {
            return Ok(Looked::Found(Some(service)));
        }
        let full = self.asked.len() >= SUBSCRIPTIONS;
        match self.asked.get_mut(key) {
            Some(asked) => {
                asked.used = Instant::now();
                Ok(match &asked.state {
                    State::Waiting(arrived) => Looked::Wait(arrived.clone()),
                    State::Known | State::Absent => Looked::Found(None),
                })
            }
            None if full => {
                let detail = format!("{} names and addresses are asked for already", self.asked.len());
                Err(Failure::outbound(Cause::Limit, detail))
            }
            None => {
                let arrived = Rc::new(Notify::new());
                let asked = Asked { state: State::Waiting(arrived.clone()), used: Instant::now() };
                self.asked.insert(key.clone(), asked);
                // The control thread is gone only when the process ends.
                let _ended = orders.send(Order::Subscribe(key.text()));
                Ok(Looked::Wait(arrived))
            }
        }
    }

    fn put(&mut self, record: Destination, now: Instant) {
        let host: Rc<str> = Rc::from(record.host.as_str());
        self.by_address.retain(|_, of| *of != host);
        for endpoint in &record.endpoints {
            self.by_address.entry(endpoint.address).or_insert_with(|| host.clone());
        }
        for ip in &record.addresses {
            self.by_address.insert(*ip, host.clone());
        }
        for key in keys(&record) {
            self.settle(&key, State::Known);
        }
        match self.by_host.get(&host) {
            Some(service) => service.update(record, now),
            None => {
                self.by_host.insert(host, Rc::new(Service::new(record, now)));
            }
        }
    }

    fn remove(&mut self, name: &str) {
        self.settle(&Key::parse(name), State::Absent);
        if let Ok(ip) = name.parse::<IpAddr>() {
            self.by_address.remove(&ip);
        }
        if let Some(service) = self.by_host.remove(name) {
            self.by_address.retain(|_, host| **host != *name);
            for key in keys(&service.record()) {
                self.settle(&key, State::Absent);
            }
        }
    }

    fn settle(&mut self, key: &Key, state: State) {
        if let Some(asked) = self.asked.get_mut(key)
            && let State::Waiting(arrived) = std::mem::replace(&mut asked.state, state)
        {
            arrived.notify_waiters();
        }
    }

    /// Removes what is unused, and returns the names under which it was asked for or known.
    fn unused(&mut self, now: Instant) -> Vec<Key> {
        let idle = |used: Instant| now.saturating_duration_since(used) > DESTINATION_IDLE;
        let mut unused = Vec::new();
        self.by_host.retain(|host, service| {
            // A connection that is open holds its service.
            let keep = !idle(service.used.get()) || Rc::strong_count(service) > 1;
            if !keep {
                unused.push(Key::Host(host.to_string()));
            }
            keep
        });
        let by_host = &self.by_host;
        self.by_address.retain(|_, host| by_host.contains_key(host));
        let by_address = &self.by_address;
        self.asked.retain(|key, asked| {
            let served = match key {
                Key::Host(host) => by_host.contains_key(host.as_str()),
                Key::Address(ip) => by_address.contains_key(ip),
            };
            let keep = served || !idle(asked.used);
            if !keep {
                unused.push(key.clone());
            }
            keep
        });
        unused
    }
}

impl Key {
    fn parse(name: &str) -> Self {
        name.parse().map_or_else(|_| Self::Host(name.to_owned()), Self::Address)
    }

    fn text(&self) -> String {
        match self {
            Self::Host(host) => host.clone(),
            Self::Address(ip) => ip.to_string(),
        }
    }
}

/// Every name by which a record can have been asked for.
fn keys(record: &Destination) -> impl Iterator<Item = Key> {
    let endpoints = record.endpoints.iter().map(|e| e.address);
    let addresses = record.addresses.iter().copied().chain(endpoints).map(Key::Address);
    std::iter::once(Key::Host(record.host.clone())).chain(addresses)
}
