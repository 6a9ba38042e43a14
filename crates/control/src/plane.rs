//! What one machine adds to a mesh: who was launched, and at which addresses. Each change of it
//! becomes one of the mesh that is passed in. Pure: chance, time and what the host says are passed in.

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr};

use weft_mesh::{TrustDomain, WorkloadId};
use weft_wire::proto::weft::v1 as proto;

use crate::addresses::{AddressPair, Addresses, NoAddress};
use crate::mesh::{Mesh, ServiceName};
use crate::messages::Kept;
use crate::records;
use crate::registry::{LaunchId, Readiness, Registration, Registry, Spec, SpecError, Token};

/// The workloads of one machine.
#[derive(Debug)]
pub(crate) struct Plane {
    domain: TrustDomain,
    registry: Registry,
    addresses: Addresses,
    /// Services that have or had workloads since the control plane began. One whose last workload
    /// has ended stays known: its callers are told that nobody serves it, not that it is unknown.
    services: BTreeMap<ServiceName, Vec<IpAddr>>,
    last_launch: u64,
    /// What the state folder keeps is no longer what is.
    unsaved: bool,
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
    /// What the state folder kept; its workloads are nobody's until their launchers come back.
    pub(crate) fn new(
        domain: TrustDomain,
        addresses: Addresses,
        workloads: Vec<Registration>,
        mesh: &mut Mesh,
    ) -> Self {
        let (registry, services) = (Registry::default(), BTreeMap::new());
        let mut plane = Self { domain, registry, addresses, services, last_launch: 0, unsaved: false };
        for workload in workloads {
            // Both come from one folder, so that nobody else has them; if not, the workload goes.
            let kept = plane.addresses.keep(&workload.id, workload.addresses.v4, workload.host);
            if kept.and_then(|()| plane.know_service(&workload.spec)).is_ok() {
                mesh.put_workload(records::workload(&workload));
                plane.registry.insert(workload);
            }
        }
        plane.services.keys().for_each(|name| plane.publish_service(name, mesh));
        plane
    }

    /// Whether what the state folder keeps has changed since the last call.
    pub(crate) fn unsaved(&mut self) -> bool {
        mem::take(&mut self.unsaved)
    }

    /// Registers a workload for the stream whose id is returned.
    ///
    /// # Errors
    /// [`LaunchError`]; no workload has changed then.
    pub(crate) fn launch(
        &mut self,
        ask: LaunchAsk,
        host: &Host<'_>,
        mesh: &mut Mesh,
    ) -> Result<(LaunchId, Registration), LaunchError> {
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
        self.publish(&workload, mesh);
        Ok((launch, workload))
    }

    /// Whether the workload is an endpoint from now on. A stream that no longer keeps it changes nothing.
    pub(crate) fn note(&mut self, id: &WorkloadId, (launch, readiness): (LaunchId, Readiness), mesh: &mut Mesh) {
        if let Some(workload) = self.registry.kept_by(id, launch) {
            workload.readiness = readiness;
            let workload = workload.clone();
            self.publish(&workload, mesh);
        }
    }

    /// The workload of this launcher is no endpoint any more.
    pub(crate) fn withdraw(&mut self, pid: u32, mesh: &mut Mesh) {
        let kept = self.workloads().find(|workload| workload.spec.pid == pid);
        if let Some((id, launch)) = kept.and_then(|workload| Some((workload.id.clone(), workload.launch?))) {
            self.note(&id, (launch, Readiness::Starting), mesh);
        }
    }

    /// The stream has ended, and with it the workload that it keeps.
    pub(crate) fn end(&mut self, id: &WorkloadId, launch: LaunchId, mesh: &mut Mesh) {
        if self.registry.kept_by(id, launch).is_some() {
            self.remove(id, mesh);
        }
    }

    /// Removes the workloads whose launchers didn't come back, and says which.
    pub(crate) fn end_grace(&mut self, mesh: &mut Mesh) -> Vec<WorkloadId> {
        let gone = self.registry.unconfirmed();
        gone.iter().for_each(|id| self.remove(id, mesh));
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

    fn know_service(&mut self, spec: &Spec) -> Result<(), NoAddress> {
        let pair = self.addresses.service(&spec.namespace, &spec.name)?;
        self.services.insert(service_name(spec), pair.to_vec());
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

    fn remove(&mut self, id: &WorkloadId, mesh: &mut Mesh) {
        self.addresses.release(id);
        self.unsaved = true;
        mesh.remove_workload(id);
        if let Some(workload) = self.registry.remove(id) {
            self.publish_service(&service_name(&workload.spec), mesh);
        }
    }

    fn publish(&mut self, workload: &Registration, mesh: &mut Mesh) {
        self.unsaved = true;
        mesh.put_workload(records::workload(workload));
        self.publish_service(&service_name(&workload.spec), mesh);
    }

    fn publish_service(&self, name: &ServiceName, mesh: &mut Mesh) {
        let replicas: Vec<&Registration> =
            self.registry.iter().filter(|workload| service_name(&workload.spec) == *name).collect();
        let addresses = self.services.get(name).map(Vec::as_slice).unwrap_or_default();
        mesh.put_service(records::service(name, addresses, &replicas));
    }
}

fn service_name(spec: &Spec) -> ServiceName {
    (spec.namespace.clone(), spec.name.clone())
}

#[cfg(test)]
mod tests;
