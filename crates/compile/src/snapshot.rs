//! Every record of a mesh at one time. Whoever distributes them compares two snapshots.

use std::collections::BTreeMap;

use weft_mesh::WorkloadId;
use weft_mesh::record::{Destination, Inbound};

use crate::destination::{ServiceAddresses, destinations};
use crate::set::PolicySet;
use crate::settings::Settings;
use crate::workload::{Workload, inbound};

/// Every record, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Inbound records, by workload.
    pub inbounds: BTreeMap<WorkloadId, Inbound>,
    /// Destinations, by host.
    pub destinations: BTreeMap<String, Destination>,
}

/// The records of a mesh with these policies, workloads and service addresses.
pub fn snapshot(
    settings: &Settings,
    policies: &PolicySet,
    workloads: &[Workload],
    addresses: &ServiceAddresses,
) -> Snapshot {
    let inbounds = workloads.iter().map(|workload| (workload.id.clone(), inbound(policies, workload)));
    let destinations = destinations(settings, workloads, addresses).into_iter();
    Snapshot {
        inbounds: inbounds.collect(),
        destinations: destinations.map(|destination| (destination.host.clone(), destination)).collect(),
    }
}
