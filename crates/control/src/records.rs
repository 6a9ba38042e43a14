//! Where this room meets the compiler: registrations go in, records come out.

use std::net::SocketAddr;

use weft_compile::{PolicySet, ServiceAddresses, Settings, Workload};
use weft_mesh::TrustDomain;
use weft_mesh::record::Inbound;
use weft_resources::{Problem, Resource};
use weft_wire::record::Record;

use crate::registry::{Readiness, Registration, Registry};

/// The mesh protocol's port at each proxy's host address.
const MESH_PORT: u16 = 15008;

/// The policies in force.
#[derive(Debug)]
pub(crate) struct Compiler {
    settings: Settings,
    policies: PolicySet,
}

impl Compiler {
    /// No policy at all yet.
    pub(crate) fn new(domain: &TrustDomain) -> Self {
        let settings = Settings { trust_domain: domain.clone(), ..Settings::default() };
        let (policies, _) = PolicySet::new(&settings, &[]);
        Self { settings, policies }
    }

    /// Puts other resources in force; what is wrong with them beside each other is returned.
    pub(crate) fn replace(&mut self, resources: &[Resource]) -> Vec<Problem> {
        let (policies, problems) = PolicySet::new(&self.settings, resources);
        self.policies = policies;
        problems
    }

    /// The workload's own record.
    pub(crate) fn inbound(&self, workload: &Registration) -> Inbound {
        weft_compile::inbound(&self.policies, &input(workload))
    }

    /// The record of every service that has workloads or an address.
    pub(crate) fn destinations(&self, registry: &Registry, services: &ServiceAddresses) -> Vec<Record> {
        let workloads: Vec<Workload> = registry.iter().map(input).collect();
        let destinations = weft_compile::destinations(&self.settings, &workloads, services);
        destinations.into_iter().map(Record::Destination).collect()
    }
}

fn input(workload: &Registration) -> Workload {
    Workload {
        id: workload.id.clone(),
        identity: workload.identity.clone(),
        service: workload.spec.name.clone(),
        namespace: workload.spec.namespace.clone(),
        labels: workload.spec.labels.clone(),
        addresses: workload.addresses.to_vec(),
        mesh_address: Some(SocketAddr::from((workload.host, MESH_PORT))),
        ports: workload.spec.ports.clone(),
        ready: workload.readiness == Readiness::Ready,
    }
}
