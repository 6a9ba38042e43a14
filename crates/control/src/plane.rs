//! The state of one machine's mesh: who runs, which policies are in force, and which records
//! follow from both. Pure: chance, time and what the host says are passed in.

mod target;

use std::collections::BTreeSet;
use std::mem;
use std::net::Ipv4Addr;

use weft_compile::ServiceAddresses;
use weft_mesh::record::Trust;
use weft_mesh::{TrustDomain, WorkloadId};
use weft_resources::{Problem, Resource};
use weft_wire::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::record::Record;

use crate::addresses::{AddressPair, Addresses, NoAddress};
use crate::distribute::{Distribution, Kind, Next, RequestError, Standing, SubscriberId};
use crate::messages::{Kept, NAME_SUFFIX};
use crate::records::Compiler;
use crate::registry::{LaunchId, Readiness, Registration, Registry, Spec, SpecError, Token};

/// The mesh of one machine.
#[derive(Debug)]
pub(crate) struct Plane {
    domain: TrustDomain,
    registry: Registry,
    addresses: Addresses,
    /// Services that have or had workloads since the control plane began. One whose last workload
    /// has ended stays known: its callers are told that nobody serves it, not that it is unknown.
    services: ServiceAddresses,
    compiler: Compiler,
    distribution: Distribution,
    /// What is wrong with files, and with resources beside each other.
    problems: Vec<Problem>,
    last_launch: u64,
    changes: Changes,
}

/// What the plane's owner must do after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Streams that have something to send.
    pub(crate) wake: BTreeSet<SubscriberId>,
    /// What the state folder keeps is no longer what is.
    pub(crate) unsaved: bool,
}

/// What a launcher asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaunchAsk {
    pub(crate) workload: proto::WorkloadSpec,
    pub(crate) resume: Option<proto::Assigned>,
    pub(crate) readiness: Option<Readiness>,
}

/// What the host contributes to a launch.
pub(crate) struct Host<'a> {
    /// Random texts of `[a-z0-9]`, tried in order as the replica's suffix.
    pub(crate) suffixes: &'a [String],
    /// A new token of 256 random bits.
    pub(crate) token: Token,
    /// Whether nobody uses an address of 127.0.0.0/8.
    pub(crate) is_free: &'a dyn Fn(Ipv4Addr) -> bool,
    /// Seconds since the Unix epoch.
    pub(crate) now: i64,
}

/// Why a workload isn't launched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Its description doesn't fit.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// No address is left, or the one to be kept is another's.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// What it wants to keep doesn't fit, or is another's.
    #[error("resume: {0}")]
    Resume(String),
    /// Every suffix is taken.
    #[error("expected a free name for the replica, found all tried ones taken")]
    Suffix,
}

impl Plane {
    /// A mesh with what the state folder kept; its workloads are nobody's until their launchers
    /// come back.
    pub(crate) fn new(trust: Trust, addresses: Addresses, workloads: Vec<Registration>) -> Self {
        let mut plane = Self {
            domain: trust.domain.clone(),
            registry: Registry::default(),
            addresses,
            services: ServiceAddresses::new(),
            compiler: Compiler::new(&trust.domain),
            distribution: Distribution::default(),
            problems: Vec::new(),
            last_launch: 0,
            changes: Changes::default(),
        };
        for workload in workloads {
            // Both come from one folder, so that nobody else has them; if not, the workload goes.
            let kept = plane.addresses.keep(&workload.id, workload.addresses.v4, workload.host);
            if kept.and_then(|()| plane.know_service(&workload.spec)).is_ok() {
                plane.registry.insert(workload);
            }
        }
        plane.distribution.publish(&Record::Trust(trust));
        plane.publish_all();
        plane
    }

    /// What is to be done since the last call.
    pub(crate) fn changes(&mut self) -> Changes {
        mem::take(&mut self.changes)
    }

    /// Puts other resources in force. `problems` are those of their files.
    pub(crate) fn replace_resources(&mut self, resources: &[Resource], problems: Vec<Problem>) {
        self.problems = problems;
        self.problems.extend(self.compiler.replace(resources));
        self.publish_all();
    }

    /// Registers a workload for the stream whose id is returned.
    ///
    /// # Errors
    /// [`LaunchError`]; no workload has changed then.
    pub(crate) fn launch(&mut self, ask: LaunchAsk, host: &Host<'_>) -> Result<(LaunchId, Registration), LaunchError> {
        let spec = Spec::read(ask.workload)?;
        self.know_service(&spec)?;
        let launch = LaunchId(self.last_launch + 1);
        let mut workload = match &ask.resume {
            Some(assigned) => self.resume(spec, assigned, host)?,
            None => self.admit(spec, host)?,
        };
        self.last_launch = launch.0;
        workload.launch = Some(launch);
        workload.readiness = ask.readiness.unwrap_or(workload.readiness);
        self.registry.insert(workload.clone());
        self.changes.unsaved = true;
        self.publish(&workload);
        Ok((launch, workload))
    }

    /// The workload is an endpoint from now on. A stream that no longer keeps it changes nothing.
    pub(crate) fn ready(&mut self, id: &WorkloadId, launch: LaunchId) {
        if let Some(workload) = self.registry.kept_by(id, launch) {
            workload.readiness = Readiness::Ready;
            let workload = workload.clone();
            self.changes.unsaved = true;
            self.publish(&workload);
        }
    }

    /// The stream has ended, and with it the workload that it keeps.
    pub(crate) fn end(&mut self, id: &WorkloadId, launch: LaunchId) {
        if self.registry.kept_by(id, launch).is_some() {
            self.remove(id);
        }
    }

    /// Removes the workloads whose launchers didn't come back, and says which.
    pub(crate) fn end_grace(&mut self) -> Vec<WorkloadId> {
        let gone = self.registry.unconfirmed();
        gone.iter().for_each(|id| self.remove(id));
        gone
    }

    /// The running workloads.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Registration> {
        self.registry.iter()
    }

    /// The workload whose proxy has this token.
    pub(crate) fn by_token(&self, token: &str) -> Option<&Registration> {
        self.registry.by_token(token)
    }

    /// Who has which address.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What is wrong: in files, among resources, and what proxies refused.
    pub(crate) fn problems(&self) -> Vec<String> {
        let refusals = self.distribution.refusals().into_iter().map(|refusal| {
            format!("the proxy of {} refused the record {}: {}", refusal.workload, refusal.record, refusal.reason)
        });
        self.problems.iter().map(ToString::to_string).chain(refusals).collect()
    }

    /// The workloads as far as their proxies follow records; what they say of themselves is added
    /// by others.
    pub(crate) fn proxies(&self) -> Vec<proto::ProxyState> {
        let refusals = self.distribution.refusals();
        let state = |workload: &Registration| {
            let Standing { streams, unacknowledged, inbound_version } = self.distribution.standing(&workload.id);
            let refused = refusals.iter().filter(|refusal| refusal.workload == workload.id);
            proto::ProxyState {
                workload: workload.id.to_string(),
                identity: workload.identity.to_string(),
                record_streams: streams,
                unacknowledged,
                refused: refused.map(|refusal| format!("{}: {}", refusal.record, refusal.reason)).collect(),
                inbound_version,
                ..proto::ProxyState::default()
            }
        };
        self.workloads().map(state).collect()
    }

    /// The services that have workloads, each once.
    pub(crate) fn running_services(&self) -> Vec<proto::ServiceName> {
        let mut names: Vec<_> = self.workloads().map(|w| (&*w.spec.namespace, &*w.spec.name)).collect();
        names.sort_unstable();
        names.dedup();
        let name = |(namespace, name): (&str, &str)| proto::ServiceName {
            host: format!("{name}.{namespace}.{NAME_SUFFIX}"),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        };
        names.into_iter().map(name).collect()
    }

    /// A new stream of a workload's proxy.
    ///
    /// # Errors
    /// [`RequestError::Streams`].
    pub(crate) fn subscribe(&mut self, workload: WorkloadId) -> Result<SubscriberId, RequestError> {
        self.distribution.subscribe(workload)
    }

    /// A request on a stream.
    ///
    /// # Errors
    /// [`RequestError`]: the stream is to be ended.
    pub(crate) fn request(&mut self, id: SubscriberId, request: DeltaDiscoveryRequest) -> Result<(), RequestError> {
        self.distribution.request(id, request)
    }

    /// What a stream does next.
    pub(crate) fn next(&mut self, id: SubscriberId) -> Next {
        self.distribution.next(id)
    }

    /// A stream has ended.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId) {
        self.distribution.unsubscribe(id);
    }

    fn know_service(&mut self, spec: &Spec) -> Result<(), NoAddress> {
        let pair = self.addresses.service(&spec.namespace, &spec.name)?;
        self.services.insert((spec.namespace.clone(), spec.name.clone()), pair.to_vec());
        Ok(())
    }

    fn admit(&mut self, spec: Spec, host: &Host<'_>) -> Result<Registration, LaunchError> {
        let identity = Registration::identity(&self.domain, &spec)?;
        let name = |suffix: &String| WorkloadId::new(&spec.namespace, &format!("{}-{suffix}", spec.name)).ok();
        let is_new = |id: &WorkloadId| self.registry.workload(id).is_none();
        let id = host.suffixes.iter().filter_map(name).find(is_new).ok_or(LaunchError::Suffix)?;
        let addresses = self.addresses.workload(&id)?;
        let address = self.addresses.host(&id, host.is_free).inspect_err(|_| self.addresses.release(&id))?;
        Ok(Registration {
            id,
            spec,
            identity,
            addresses,
            host: address,
            token: host.token.clone(),
            readiness: Readiness::Starting,
            launch: None,
            started_at: host.now,
        })
    }

    fn resume(&mut self, spec: Spec, assigned: &proto::Assigned, host: &Host<'_>) -> Result<Registration, LaunchError> {
        let kept = Kept::read(assigned).map_err(LaunchError::Resume)?;
        let identity = Registration::identity(&self.domain, &spec)?;
        let is_replica = kept.id.name().strip_prefix(&spec.name).is_some_and(|rest| rest.starts_with('-'));
        if kept.identity != identity || kept.id.namespace() != spec.namespace || !is_replica {
            let (id, found) = (&kept.id, &kept.identity);
            return Err(LaunchError::Resume(format!("expected {identity} and its replica, found {found} and {id}")));
        }
        let known = self.registry.by_token(kept.token.secret()).or_else(|| self.registry.workload(&kept.id));
        let (readiness, started_at) = match known {
            Some(known) if known.id == kept.id && known.token == kept.token => (known.readiness, known.started_at),
            Some(_) => return Err(LaunchError::Resume(format!("expected {} to be its own, found it taken", kept.id))),
            None => (Readiness::Starting, host.now),
        };
        self.addresses.keep(&kept.id, kept.v4, kept.host)?;
        let Kept { id, identity, v4, host, token } = kept;
        let addresses = AddressPair::of(v4);
        Ok(Registration { id, spec, identity, addresses, host, token, readiness, launch: None, started_at })
    }

    fn remove(&mut self, id: &WorkloadId) {
        self.registry.remove(id);
        self.addresses.release(id);
        self.changes.unsaved = true;
        self.changes.wake.extend(self.distribution.end(id));
        self.changes.wake.extend(self.distribution.withdraw(Kind::Inbound, id.as_str()));
        self.publish_destinations();
    }

    /// What one workload's change leads to: its own record, and those of services.
    fn publish(&mut self, workload: &Registration) {
        let inbound = Record::Inbound(self.compiler.inbound(workload));
        self.changes.wake.extend(self.distribution.publish(&inbound));
        self.publish_destinations();
    }

    fn publish_all(&mut self) {
        let inbounds: Vec<Record> =
            self.registry.iter().map(|workload| Record::Inbound(self.compiler.inbound(workload))).collect();
        self.changes.wake.extend(self.distribution.publish_all(Kind::Inbound, &inbounds));
        self.publish_destinations();
    }

    fn publish_destinations(&mut self) {
        let records = self.compiler.destinations(&self.registry, &self.services);
        self.changes.wake.extend(self.distribution.publish_all(Kind::Destination, &records));
    }
}

#[cfg(test)]
mod tests;
