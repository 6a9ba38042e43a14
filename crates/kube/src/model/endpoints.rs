//! The EndpointSlices by Service, and which Services a pod or an address serves. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use weft_mesh::WorkloadId;

use super::Name;
use super::slice::{Endpoint, Slice};

/// All slices, and where to find them.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    slices: HashMap<Name, Slice>,
    /// The names of a Service's slices.
    of_service: HashMap<Name, BTreeSet<String>>,
    /// The Services of a target, each with the number of its endpoints there.
    of_target: HashMap<Target, HashMap<Name, u32>>,
}

/// What an endpoint stands for: a pod by its name, or whoever has an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Pod(WorkloadId),
    Address(IpAddr),
}

impl Endpoints {
    /// Puts a slice in the place of the one of that name; tells the Services that this concerns.
    pub(crate) fn replace(&mut self, name: &Name, slice: Option<Slice>) -> BTreeSet<Name> {
        let old = self.slices.get(name).cloned();
        if old == slice {
            return BTreeSet::new();
        }
        let forgotten = old.map(|old| self.forget(name, &old));
        let remembered = slice.as_ref().map(|slice| self.remember(name, slice));
        match slice {
            Some(slice) => self.slices.insert(name.clone(), slice),
            None => self.slices.remove(name),
        };
        forgotten.into_iter().chain(remembered).collect()
    }

    /// The names of all slices.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &Name> {
        self.slices.keys()
    }

    /// A Service's slices, by name.
    pub(crate) fn of_service<'a>(&'a self, service: &'a Name) -> impl Iterator<Item = &'a Slice> + 'a {
        let names = self.of_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(&Name::new(&service.namespace, name)))
    }

    /// The Services whose slices name a pod.
    pub(crate) fn services_of<'a>(&'a self, pod: &WorkloadId) -> impl Iterator<Item = Name> + 'a {
        self.of_target.get(&Target::Pod(pod.clone())).into_iter().flat_map(|services| services.keys().cloned())
    }

    /// The Services whose slices name an address, and no pod beside it.
    pub(crate) fn services_at(&self, address: IpAddr) -> impl Iterator<Item = Name> + '_ {
        self.of_target.get(&Target::Address(address)).into_iter().flat_map(|services| services.keys().cloned())
    }

    fn remember(&mut self, name: &Name, slice: &Slice) -> Name {
        let service = Name::new(&name.namespace, &slice.service);
        self.of_service.entry(service.clone()).or_default().insert(name.name.clone());
        for endpoint in &slice.endpoints {
            let services = self.of_target.entry(target(&name.namespace, endpoint)).or_default();
            *services.entry(service.clone()).or_default() += 1;
        }
        service
    }

    fn forget(&mut self, name: &Name, slice: &Slice) -> Name {
        let service = Name::new(&name.namespace, &slice.service);
        if let Some(names) = self.of_service.get_mut(&service) {
            names.remove(&name.name);
            if names.is_empty() {
                self.of_service.remove(&service);
            }
        }
        for endpoint in &slice.endpoints {
            let target = target(&name.namespace, endpoint);
            let Some(services) = self.of_target.get_mut(&target) else { continue };
            if let Some(count) = services.get_mut(&service) {
                *count -= 1;
                if *count == 0 {
                    services.remove(&service);
                }
            }
            if services.is_empty() {
                self.of_target.remove(&target);
            }
        }
        service
    }
}

/// The pod that an endpoint names.
pub(crate) fn pod(namespace: &str, endpoint: &Endpoint) -> Option<WorkloadId> {
    WorkloadId::new(namespace, endpoint.pod.as_ref()?).ok()
}

fn target(namespace: &str, endpoint: &Endpoint) -> Target {
    pod(namespace, endpoint).map_or(Target::Address(endpoint.address), Target::Pod)
}
