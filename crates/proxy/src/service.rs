//! One destination as this proxy uses it: its record, and what is known of each endpoint's load.
//! Knows no sockets.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_mesh::WorkloadId;
use weft_mesh::balance::{PeakEwma, choose};
use weft_mesh::record::{Destination, Endpoint, ServicePort};

use crate::detect::Known;
use crate::limits::LANE_ANSWER_BYTES;
use crate::metrics::{Party, ServiceName};
use crate::random;

/// A service that the program talks to.
pub struct Service {
    record: RefCell<Rc<Destination>>,
    targets: RefCell<Rc<Targets>>,
    /// When it was last looked up.
    pub used: Cell<Instant>,
    /// What was spoken on its ports of undeclared protocol.
    pub(crate) known: Known,
}

/// The endpoints for calls to an address of each family: those of the same, where there are any. A
/// program may listen in one alone.
#[derive(Default)]
struct Targets {
    v4: Vec<Rc<Target>>,
    v6: Vec<Rc<Target>>,
    /// Whether all of them serve every port.
    alike: bool,
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
            targets: RefCell::default(),
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

    /// How a call to `port` is to be treated. `None`: it must be refused.
    pub fn port(&self, port: u16) -> Option<ServicePort> {
        self.record.borrow().port(port)
    }

    /// The endpoint for a call to an address and a port, by load, other than those `tried`.
    pub fn choose(&self, (ip, port): (IpAddr, ServicePort), tried: &[Rc<Target>], now: Instant) -> Option<Rc<Target>> {
        let targets = self.targets.borrow().clone();
        let family = if ip.to_canonical().is_ipv4() { &targets.v4 } else { &targets.v6 };
        if tried.is_empty() && targets.alike {
            let at = choose(family.len(), random::bits(), |at| family[at].load(now))?;
            return family.get(at).cloned();
        }
        let untried = |target: &&Rc<Target>| !tried.iter().any(|t| Rc::ptr_eq(t, target));
        let serves = |target: &&Rc<Target>| target.endpoint.target(port).is_some();
        let left: Vec<&Rc<Target>> = family.iter().filter(serves).filter(untried).collect();
        let at = choose(left.len(), random::bits(), |at| left[at].load(now))?;
        left.get(at).map(|target| Rc::clone(target))
    }

    fn renew_targets(&self, now: Instant) {
        let old = self.targets.borrow().clone();
        let record = self.record.borrow();
        let targets = record.endpoints.iter().map(|endpoint| {
            let kept = old.v4.iter().chain(&old.v6).find(|t| t.endpoint == *endpoint).cloned();
            kept.unwrap_or_else(|| Rc::new(Target::new(endpoint.clone(), &record, now)))
        });
        *self.targets.borrow_mut() = Rc::new(Targets::new(targets.collect()));
    }
}

impl Targets {
    fn new(all: Vec<Rc<Target>>) -> Self {
        let alike = all.iter().all(|target| target.endpoint.ports.is_empty());
        let (v4, v6): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|target| target.endpoint.address.to_canonical().is_ipv4());
        Self { v4: if v4.is_empty() { all.clone() } else { v4 }, v6: if v6.is_empty() { all } else { v6 }, alike }
    }
}

impl Target {
    fn new(endpoint: Endpoint, record: &Destination, now: Instant) -> Self {
        let workload = endpoint.workload.as_ref();
        let party = Party {
            workload: Arc::from(workload.map_or("unknown", WorkloadId::name)),
            namespace: Arc::from(workload.map_or(record.namespace.as_str(), WorkloadId::namespace)),
            app: Arc::from(record.service.as_str()),
            principal: endpoint.tunnel.peer().map(|peer| peer.identity.clone()),
            kind: Arc::default(),
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
