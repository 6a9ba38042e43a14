//! All policies of a mesh, ready to be asked for one workload.

use std::collections::BTreeMap;

use weft_mesh::record::{Cidr, PeerAuthentication, Policy};
use weft_resources::{Problem, Resource, ResourceRef, Severity};

use crate::authorization::{Selected, compile_policy};
use crate::default_inbound::DefaultInbound;
use crate::peer::Peers;
use crate::settings::Settings;
use crate::trust_domain::Domains;

/// All policies of a mesh.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<Selected>,
    peers: Peers,
    cluster_networks: Vec<Cidr>,
}

impl PolicySet {
    /// Compiles the policies among `resources`: all that there are in the folder, in its order.
    ///
    /// The problems are those that only a mesh can see (what `weft_resources::parse` found isn't
    /// repeated): duplicates, what is refused, what is without effect, and what a broken policy
    /// closes until it is mended.
    pub fn new(settings: &Settings, resources: &[Resource]) -> (Self, Vec<Problem>) {
        let mut set = Self { cluster_networks: settings.cluster_networks.clone(), ..Self::default() };
        let mut problems = Vec::new();
        let domains = Domains::new(settings);
        let root = settings.root_namespace.as_str();
        let mut seen: BTreeMap<ResourceRef, String> = BTreeMap::new();
        for resource in resources {
            let duplicate = duplicate(resource, &mut seen, &mut problems);
            match resource {
                Resource::AuthorizationPolicy(policy) => {
                    set.policies.extend(compile_policy(policy, duplicate, (&domains, root), &mut problems));
                }
                Resource::PeerAuthentication(policy) => set.peers.add(policy, duplicate, root, &mut problems),
            }
        }
        (set, problems)
    }

    /// What governs a workload: whether its callers must prove who they are, and the policies that
    /// select it, in the order of the resources.
    pub fn for_workload(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> (PeerAuthentication, Vec<Policy>) {
        let selected = self.policies.iter().filter(|selected| selected.reach.includes(namespace, labels));
        (self.peers.of(namespace, labels), selected.map(|selected| selected.policy.clone()).collect())
    }

    /// The policy that a default inbound policy comes to, for a workload of `namespace`.
    pub(crate) fn default_inbound(&self, default: DefaultInbound, namespace: &str) -> Option<Policy> {
        default.policy(namespace, &self.cluster_networks)
    }
}

/// Notes that a resource stands elsewhere already, and tells so. A resource that can't be named is
/// nobody's duplicate.
fn duplicate(
    resource: &Resource,
    seen: &mut BTreeMap<ResourceRef, String>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let reference = resource.reference();
    if reference.name.is_none() || reference.namespace.is_none() {
        return None;
    }
    let meta = resource.meta();
    let Some(first) = seen.get(&reference) else {
        seen.insert(reference, format!("{}:{}", meta.file, meta.line));
        return None;
    };
    let problem = Problem {
        severity: Severity::Error,
        file: meta.file.clone(),
        line: meta.line,
        column: 0,
        field: Some("metadata.name".to_owned()),
        resource: Some(reference),
        message: format!("expected each resource once, found it in {first} already"),
    };
    let text = problem.to_string();
    problems.push(problem);
    Some(text)
}

#[cfg(test)]
mod tests;
