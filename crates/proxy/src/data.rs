//! Everything that the tasks of a data thread share. One thread, so nothing here is locked or sent; the control thread
//! is reached by channels alone.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use weft_mesh::WorkloadId;
use weft_wire::bootstrap::Names;

use crate::access::AccessLog;
use crate::crowd::{Crowd, Turns};
use crate::detect::Known;
use crate::drain::Drain;
use crate::flow::Flows;
use crate::http1::Programs;
use crate::http2::{Connections, ProgramPort, Route};
use crate::live::Live;
use crate::metrics::{Metrics, Party};
use crate::records::{Changed, Records, Update};
use crate::report::Reporter;
use crate::sockets::SocketSource;
use crate::tunnel::Pool;
use crate::{host, range};

/// What the tasks of one data thread share.
pub(crate) struct Data {
    /// Which workload this is.
    pub workload: WorkloadId,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Where it is called on the host's loopback, and calls others there from: each counts its callers by address.
    pub loopback: Option<IpAddr>,
    /// How names are resolved; `None`: DNS isn't answered.
    pub names: Option<Names>,
    /// What is known of the mesh.
    pub records: Records,
    /// Warm connections to others.
    pub pool: Pool,
    /// Connections to the program that wait.
    pub programs: Programs,
    /// What was spoken on published ports.
    pub known: Known,
    /// Connections to others that HTTP/2 streams share.
    pub h2_calls: Connections<Route>,
    /// Connections to the program that HTTP/2 streams share.
    pub h2_programs: Connections<ProgramPort>,
    /// Open connections of callers.
    pub live: Rc<Live>,
    /// Sockets towards the program.
    pub sockets: SocketSource,
    /// Counters.
    pub metrics: Metrics,
    /// Labels of requests, with their counters at hand.
    pub(crate) flows: Flows,
    /// What of the counters the control plane was told.
    pub report: Reporter,
    /// The access log.
    pub access: Rc<AccessLog>,
    /// The end.
    pub drain: Rc<Drain>,
    /// Told when there is something that will have to be given up when unused.
    pub sweep: Notify,
    /// Bounds the program's connections.
    pub outbound_permits: Arc<Semaphore>,
    /// Bounds callers' connections.
    pub inbound_permits: Arc<Semaphore>,
    /// Bounds what one address has of them.
    pub(crate) inbound_crowd: Rc<Crowd>,
    /// Bounds callers' handshakes.
    pub(crate) handshakes: Turns,
    /// The workload itself, as labels name it, once asked for.
    pub(crate) own: RefCell<Option<Party>>,
}

impl Data {
    /// The workload itself, as labels name it.
    pub(crate) fn own_party(&self) -> Party {
        if let Some(party) = &*self.own.borrow() {
            return party.clone();
        }
        let name: Arc<str> = Arc::from(self.workload.name());
        let namespace = Arc::from(self.workload.namespace());
        let Some(inbound) = self.records.inbound_now() else {
            return Party { workload: name.clone(), namespace, app: name, ..Party::unknown() };
        };
        let app = Arc::from(inbound.service.as_str());
        let principal = Some(inbound.identity.clone());
        let party = Party { workload: name, namespace, app, principal, kind: Arc::default() };
        self.own.replace(Some(party.clone()));
        party
    }

    /// Whether somebody in the mesh may have an address.
    pub(crate) fn may_be_mesh(&self, ip: IpAddr) -> bool {
        matches!(self.sockets, SocketSource::Pod) || range::is_mesh(ip)
    }

    /// Where a call to the host's own loopback leads; `None` when it is no such call.
    pub(crate) fn host_target(&self, destination: SocketAddr) -> Option<SocketAddr> {
        let SocketSource::Maker(maker) = &self.sockets else { return None };
        host::target(destination, maker.forwarded())
    }

    /// Brings counters up to date that others keep.
    pub(crate) fn renew_gauges(&self) {
        let process = &self.metrics.process;
        process.access_dropped.set(self.access.dropped());
        process.tunnels_spare.set(self.pool.spare() as u64);
    }

    /// Takes in what the control thread tells.
    pub(crate) fn apply(&self, update: Update) {
        match self.records.apply(update, Instant::now()) {
            Ok(Changed::Inbound) => {
                self.own.replace(None);
                if let Some(inbound) = self.records.inbound_now() {
                    self.live.judge_again(&inbound);
                }
            }
            Ok(Changed::Tls | Changed::Destination) => {}
            Err(problem) => tracing::error!(problem, "an update can't be used; what was known before stays"),
        }
        self.sweep.notify_one();
    }
}
