//! One destination as this proxy uses it: its record, and what is known of each endpoint's load.
//! Knows no sockets.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_mesh::balance::{PeakEwma, choose};
use weft_mesh::record::{Destination, Endpoint, ServicePort};

use crate::detect::Known;
use crate::limits::LANE_ANSWER_BYTES;
use crate::metrics::{Party, ServiceName};
use crate::random;

/// A service that the program talks to.
pub struct Service {
    record: RefCell<Rc<Destination>>,
    targets: RefCell<Rc<[Rc<Target>]>>,
    /// When it was last looked up.
    pub used: Cell<Instant>,
    /// What was spoken on its ports of undeclared protocol.
    pub(crate) known: Known,
}

/// One endpoint, with its load as seen from here.
pub struct Target {
    /// Its part of the record.
    pub endpoint: Endpoint,
    /// How labels name it.
    pub party: Party,
    load: Cell<PeakEwma>,
    epoch: Instant,
    /// The last answer was longer than a lane is for.
    long: Cell<bool>,
}

/// A call on its way to an endpoint; it weighs on the endpoint until dropped.
pub struct Underway(Rc<Target>);

impl Service {
    /// A service that was just learnt.
    pub fn new(record: Destination, now: Instant) -> Self {
        let service = Self {
            record: RefCell::new(Rc::new(record)),
            targets: RefCell::new(Rc::from([])),
            used: Cell::new(now),
            known: Known::default(),
        };
        service.renew_targets(now);
        service
    }

    /// Takes a newer record; endpoints that stay keep their load.
    pub fn update(&self, record: Destination, now: Instant) {
        *self.record.borrow_mut() = Rc::new(record);
        self.renew_targets(now);
    }

    /// The record as it is now.
    pub fn record(&self) -> Rc<Destination> {
        self.record.borrow().clone()
    }

    /// How labels name it.
    pub fn name(&self) -> ServiceName {
        let record = self.record.borrow();
        ServiceName {
            host: Arc::from(record.host.as_str()),
            name: Arc::from(record.service.as_str()),
            namespace: Arc::from(record.namespace.as_str()),
        }
    }

    /// How a call to `ip` and `port` is to be treated: a workload's own address names the
    /// workload's port, not the service's. `None`: it must be refused.
    pub fn port(&self, ip: IpAddr, port: u16) -> Option<ServicePort> {
        let record = self.record.borrow();
        if record.addresses.contains(&ip) {
            return record.port(port);
        }
        let declared = record.ports.iter().find(|p| p.target == port);
        Some(ServicePort { port, target: port, protocol: declared.map(|p| p.protocol).unwrap_or_default() })
    }

    /// The endpoint for a call to `ip`, other than those `tried`: by load for the service's
    /// address, the one endpoint for a workload's own.
    pub fn choose(&self, ip: IpAddr, tried: &[Rc<Target>], now: Instant) -> Option<Rc<Target>> {
        let targets = self.targets.borrow().clone();
        let untried = |target: &&Rc<Target>| !tried.iter().any(|t| Rc::ptr_eq(t, target));
        if !self.record.borrow().addresses.contains(&ip) {
            return targets.iter().filter(untried).find(|t| t.endpoint.address == ip).cloned();
        }
        if tried.is_empty() {
            let at = choose(targets.len(), random::bits(), |at| targets[at].load(now))?;
            return targets.get(at).cloned();
        }
        let left: Vec<&Rc<Target>> = targets.iter().filter(untried).collect();
        let at = choose(left.len(), random::bits(), |at| left[at].load(now))?;
        left.get(at).map(|target| Rc::clone(target))
    }

    fn renew_targets(&self, now: Instant) {
        let old = self.targets.borrow().clone();
        let record = self.record.borrow();
        let targets = record.endpoints.iter().map(|endpoint| {
            let kept = old.iter().find(|t| t.endpoint == *endpoint).cloned();
            kept.unwrap_or_else(|| Rc::new(Target::new(endpoint.clone(), &record.service, now)))
        });
        *self.targets.borrow_mut() = targets.collect();
    }
}

impl Target {
    fn new(endpoint: Endpoint, service: &str, now: Instant) -> Self {
        let party = Party {
            workload: Arc::from(endpoint.workload.name()),
            namespace: Arc::from(endpoint.workload.namespace()),
            app: Arc::from(service),
            principal: Some(endpoint.identity.clone()),
        };
        let load = Cell::new(PeakEwma::new(ASSUMED_COST, DECAY, Duration::ZERO));
        Self { endpoint, party, load, epoch: now, long: Cell::new(false) }
    }

    /// A call sets out.
    pub fn begin(self: &Rc<Self>) -> Underway {
        self.change_load(PeakEwma::begin);
        Underway(self.clone())
    }

    /// An answer was so long.
    pub(crate) fn answered(&self, bytes: u64) {
        self.long.set(bytes > LANE_ANSWER_BYTES);
    }

    /// Whether the last answer was a long one.
    pub(crate) fn answers_long(&self) -> bool {
        self.long.get()
    }

    /// Takes the time of one answer into account.
    pub fn observe(&self, took: Duration, now: Instant) {
        self.change_load(|load| load.observe(took, now - self.epoch));
    }

    fn load(&self, now: Instant) -> f64 {
        self.load.get().load(now - self.epoch) / f64::from(self.endpoint.weight.max(1))
    }

    fn change_load(&self, change: impl FnOnce(&mut PeakEwma)) {
        let mut load = self.load.get();
        change(&mut load);
        self.load.set(load);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.change_load(PeakEwma::end);
    }
}

/// What an endpoint costs before anything is known of it.
const ASSUMED_COST: Duration = Duration::from_millis(10);
/// How long a slow answer is remembered.
const DECAY: Duration = Duration::from_secs(10);
