//! What the data thread knows of the mesh: its own inbound record, its credential and trust, and
//! the destinations that its program talks to. A destination is asked for when it is first used,
//! and whoever needs it waits, bounded. No I/O: orders go to the control thread, updates come from it.

mod destinations;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use weft_identity::{Credential, MeshTls};
use weft_mesh::record::{Destination, Inbound, Trust};
use weft_wire::head;

use destinations::{Destinations, Key, Looked};

use crate::hbone;
use crate::limits::RECORD_WAIT;
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
    /// Whether the control plane can be asked.
    Control(Presence),
}

/// Whether the control plane can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// There is a stream to it, or none was tried yet.
    There,
    /// There is none.
    Away,
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
    control: Cell<Presence>,
    orders: mpsc::UnboundedSender<Order>,
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
            control: Cell::new(Presence::There),
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
            Update::Control(presence) => {
                self.control.set(presence);
                self.destinations.borrow().wake();
            }
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

    /// The service or the workload that has an address; `None` when there is none, and when the control
    /// plane is away and has told before that none will have it.
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

    /// Gives up destinations that nobody has used for a while, unless nobody could tell of them again.
    /// Returns whether any are left.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut destinations = self.destinations.borrow_mut();
        if self.control.get() == Presence::Away {
            return !destinations.is_empty();
        }
        for key in destinations.unused(now) {
            // The control thread is gone only when the process ends.
            let _ended = self.orders.send(Order::Unsubscribe(key.text()));
        }
        !destinations.is_empty()
    }

    async fn ask(&self, key: Key) -> Result<Option<Rc<Service>>, Failure> {
        let deadline = Instant::now() + RECORD_WAIT;
        loop {
            if self.is_surely_outside(&key) {
                return Ok(None);
            }
            let arrived = match self.destinations.borrow_mut().look(&key, &self.orders)? {
                Looked::Found(service) => return Ok(service),
                Looked::Wait(arrived) => arrived,
            };
            let notified = arrived.notified();
            // Nothing can have come between the look and this line: there is one thread.
            if tokio::time::timeout_at(deadline, notified).await.is_err() {
                let away = if self.control.get() == Presence::Away { ": the control plane is away" } else { "" };
                let detail = format!("no record of {} within {} s{away}", key.text(), RECORD_WAIT.as_secs());
                return Err(Failure::outbound(Cause::Unjudged, detail));
            }
        }
    }

    /// Whether there is nobody to ask about an address that can be nobody's of the mesh.
    fn is_surely_outside(&self, key: &Key) -> bool {
        let Key::Address(ip) = key else { return false };
        let parts = self.parts.borrow();
        self.control.get() == Presence::Away && parts.1.as_ref().is_some_and(|trust| trust.is_outside(*ip))
    }

    async fn wait_own<T>(&self, read: impl Fn() -> Option<T>, what: &str) -> Result<T, Failure> {
        if let Some(found) = read() {
            return Ok(found);
        }
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

#[cfg(test)]
mod tests;
