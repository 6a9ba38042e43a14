//! What the cluster of a run holds: how many of what, their names and addresses, and who calls whom.
//! Pure: the same plan always gives the same cluster.

use std::net::Ipv4Addr;

use serde::Serialize;

/// The sizes of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Plan {
    /// Pods with a proxy: those of the first namespaces.
    pub(crate) proxies: usize,
    pub(crate) pods: usize,
    pub(crate) services: usize,
    pub(crate) namespaces: usize,
}

/// One pod: its place in the cluster, and how often it was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pod {
    pub(crate) index: usize,
    pub(crate) generation: usize,
}

impl Plan {
    /// A plan whose parts come out even.
    pub(crate) fn new(proxies: usize, pods: usize, services: usize, namespaces: usize) -> Result<Self, String> {
        let plan = Self { proxies, pods, services, namespaces };
        let divides = |part: usize, whole: usize| part > 0 && whole.is_multiple_of(part);
        if services < CALLED_EACH || pods >= MAX_PODS {
            return Err(format!(
                "expected at least {CALLED_EACH} services and less than {MAX_PODS} pods, found {services} and {pods}"
            ));
        }
        if !divides(namespaces, services) || !divides(services, pods) {
            return Err(format!(
                "expected pods as a multiple of services, and services of namespaces, found {pods}, {services}, {namespaces}"
            ));
        }
        if proxies > pods || !divides(plan.pods_of_a_namespace(), proxies) {
            return Err(format!(
                "expected proxies as a multiple of a namespace's {} pods, found {proxies}",
                plan.pods_of_a_namespace()
            ));
        }
        Ok(plan)
    }

    pub(crate) fn pods_of_a_service(&self) -> usize {
        self.pods / self.services
    }

    pub(crate) fn pods_of_a_namespace(&self) -> usize {
        self.pods / self.namespaces
    }

    /// The pods at the start.
    pub(crate) fn all_pods(&self) -> impl Iterator<Item = Pod> + use<> {
        (0..self.pods).map(|index| Pod { index, generation: 0 })
    }

    pub(crate) fn service_of(&self, pod: Pod) -> usize {
        pod.index / self.pods_of_a_service()
    }

    /// The pods of a service at the start.
    pub(crate) fn pods_of(&self, service: usize) -> impl Iterator<Item = Pod> + use<> {
        let each = self.pods_of_a_service();
        (service * each..(service + 1) * each).map(|index| Pod { index, generation: 0 })
    }

    pub(crate) fn namespace_of(&self, service: usize) -> usize {
        service / (self.services / self.namespaces)
    }

    /// How many namespaces are in the mesh: the first ones.
    pub(crate) fn meshed_namespaces(&self) -> usize {
        self.proxies / self.pods_of_a_namespace()
    }

    pub(crate) fn has_proxy(&self, pod: Pod) -> bool {
        pod.index < self.proxies
    }

    /// The services that the program beside a proxy calls, spread over the whole mesh.
    pub(crate) fn called_by(&self, proxy: usize) -> impl Iterator<Item = usize> + use<> {
        let services = self.services;
        (0..CALLED_EACH).map(move |step| (proxy * FIRST_STRIDE + step * NEXT_STRIDE) % services)
    }

    /// The proxies whose programs call a service.
    pub(crate) fn callers_of(&self, service: usize) -> Vec<usize> {
        (0..self.proxies).filter(|proxy| self.called_by(*proxy).any(|called| called == service)).collect()
    }

    /// The proxies of a namespace.
    pub(crate) fn proxies_in(&self, namespace: usize) -> Vec<usize> {
        let each = self.pods_of_a_namespace();
        (namespace * each..(namespace + 1) * each).filter(|index| *index < self.proxies).collect()
    }

    pub(crate) fn namespace_name(&self, namespace: usize) -> String {
        format!("team-{namespace}")
    }

    pub(crate) fn service_name(&self, service: usize) -> String {
        format!("service-{service}")
    }

    /// The namespace of a service, by name.
    pub(crate) fn home_of(&self, service: usize) -> String {
        self.namespace_name(self.namespace_of(service))
    }

    pub(crate) fn host(&self, service: usize) -> String {
        format!("{}.{}.svc.cluster.local", self.service_name(service), self.home_of(service))
    }

    pub(crate) fn pod_name(&self, pod: Pod) -> String {
        format!("{}-{HASH}-{:02x}{:03}", self.service_name(self.service_of(pod)), pod.generation, pod.index % 1000)
    }

    /// A pod with a proxy has an account of its own, so that each proxy has an identity of its own.
    pub(crate) fn account_of(&self, pod: Pod) -> String {
        let service = self.service_name(self.service_of(pod));
        if self.has_proxy(pod) { format!("{service}-{}", pod.index % self.pods_of_a_service()) } else { service }
    }
}

impl Pod {
    pub(crate) fn address(self) -> Ipv4Addr {
        let offset = self.generation * MAX_PODS + self.index;
        Ipv4Addr::from_bits(FIRST_ADDRESS + u32::try_from(offset).unwrap_or(u32::MAX - FIRST_ADDRESS))
    }

    /// The one that takes its place.
    pub(crate) fn successor(self) -> Self {
        Self { generation: self.generation + 1, ..self }
    }
}

/// How many services a program calls.
pub(crate) const CALLED_EACH: usize = 10;
/// The hash of every ReplicaSet's template.
pub(crate) const HASH: &str = "6d4cf56db6";
/// Primes, so that callers and called are spread evenly.
const FIRST_STRIDE: usize = 7;
const NEXT_STRIDE: usize = 97;
/// 10.64.0.0; a later generation's addresses follow.
const FIRST_ADDRESS: u32 = 0x0a40_0000;
const MAX_PODS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_even() {
        assert!(Plan::new(1000, 10_000, 1000, 100).is_ok());
        assert!(Plan::new(20, 200, 20, 10).is_ok());
        for (proxies, pods, services, namespaces) in
            [(30, 200, 20, 10), (20, 210, 20, 10), (20, 200, 20, 3), (400, 200, 20, 10), (1, 9, 9, 1), (20, 200, 20, 0)]
        {
            assert!(
                Plan::new(proxies, pods, services, namespaces).is_err(),
                "{proxies} {pods} {services} {namespaces}"
            );
        }
    }

    #[test]
    fn everybody_calls_ten_services_and_every_service_is_called() {
        let plan = Plan::new(1000, 10_000, 1000, 100).unwrap();
        for proxy in 0..plan.proxies {
            let called: std::collections::BTreeSet<usize> = plan.called_by(proxy).collect();
            assert_eq!(called.len(), CALLED_EACH);
        }
        assert!((0..plan.services).all(|service| plan.callers_of(service).len() == CALLED_EACH));
        assert_eq!(plan.proxies_in(9).len(), 100);
        assert!(plan.proxies_in(10).is_empty());
    }

    #[test]
    fn a_successor_has_another_name_and_address() {
        let plan = Plan::new(20, 200, 20, 10).unwrap();
        let pod = Pod { index: 7, generation: 0 };
        assert_eq!(pod.address().to_string(), "10.64.0.7");
        assert_eq!(pod.successor().address().to_string(), "10.65.0.7");
        assert_ne!(plan.pod_name(pod), plan.pod_name(pod.successor()));
    }
}
