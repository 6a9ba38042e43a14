//! Stable addresses of one machine's mesh: a hash of the name chooses, collisions go to the next
//! free one, and what was chosen is recorded, so that a restart changes nothing.
//!
//! ```text
//! services, workloads   240.240.x.y   and   fd77:6566:7400::f0f0:xxyy ("w" "eft" in ASCII, then the IPv4 address)
//! proxies on the host   127.x.y.z     (mesh 15008, metrics 15020)
//! ```
//!
//! The first 256 addresses are kept for Weft itself; 240.240.0.53 is the mesh's name server. This
//! module opens no socket: who asks for a host address says which are free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use weft_mesh::WorkloadId;

use crate::hash::fnv1a;

/// The name server's IPv4 address inside every workload's network.
pub(crate) const NAMESERVER: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 53);

/// A virtual address in both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressPair {
    /// In 240.240.0.0/16.
    pub(crate) v4: Ipv4Addr,
    /// In fd77:6566:7400::/48, with the IPv4 address in its last 32 bits.
    pub(crate) v6: Ipv6Addr,
}

/// No address is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAddress {
    /// All of 240.240.0.0/16 is taken.
    #[error("expected a free address in 240.240.0.0/16, found all taken")]
    Virtual,
    /// None of the tried ones is free.
    #[error("expected a free address in 127.0.0.0/8 for the proxy, found {MAX_HOST_TRIES} tried ones taken")]
    Host,
    /// The address that is to be kept is another's now.
    #[error("expected {0} to be free for its workload, found it taken")]
    Taken(IpAddr),
}

/// Who has which address. Only what services have is written to the state folder: a workload's
/// addresses stand in its registration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addresses {
    /// By `<namespace>/<name>`.
    services: BTreeMap<String, Ipv4Addr>,
    #[serde(skip)]
    workloads: BTreeMap<String, Ipv4Addr>,
    #[serde(skip)]
    hosts: BTreeMap<String, Ipv4Addr>,
}

impl Addresses {
    /// The address of a service, now and after every restart.
    ///
    /// # Errors
    /// [`NoAddress::Virtual`] when none is left.
    pub(crate) fn service(&mut self, namespace: &str, name: &str) -> Result<AddressPair, NoAddress> {
        let key = format!("{namespace}/{name}");
        if let Some(&v4) = self.services.get(&key) {
            return Ok(AddressPair::of(v4));
        }
        let v4 = self.probe(&format!("service/{key}"))?;
        self.services.insert(key, v4);
        Ok(AddressPair::of(v4))
    }

    /// The address of a workload, for as long as it runs.
    ///
    /// # Errors
    /// [`NoAddress::Virtual`] when none is left.
    pub(crate) fn workload(&mut self, id: &WorkloadId) -> Result<AddressPair, NoAddress> {
        if let Some(&v4) = self.workloads.get(id.as_str()) {
            return Ok(AddressPair::of(v4));
        }
        let v4 = self.probe(&format!("workload/{id}"))?;
        self.workloads.insert(id.to_string(), v4);
        Ok(AddressPair::of(v4))
    }

    /// Where the workload's proxy listens on the host. `free` tells whether nobody outside the
    /// mesh uses an address.
    ///
    /// # Errors
    /// [`NoAddress::Host`] when many were tried and none was free.
    pub(crate) fn host(&mut self, id: &WorkloadId, free: impl Fn(Ipv4Addr) -> bool) -> Result<Ipv4Addr, NoAddress> {
        if let Some(&host) = self.hosts.get(id.as_str()) {
            return Ok(host);
        }
        let taken: BTreeSet<Ipv4Addr> = self.hosts.values().copied().collect();
        let start = fnv1a(id.as_str().as_bytes()) as u32 & HOST_MASK;
        let host = (start..)
            .map(|number| Ipv4Addr::from_bits(LOOPBACK | (number & HOST_MASK)))
            .filter(|host| may_host(*host))
            .take(MAX_HOST_TRIES)
            .find(|host| !taken.contains(host) && free(*host))
            .ok_or(NoAddress::Host)?;
        self.hosts.insert(id.to_string(), host);
        Ok(host)
    }

    /// Takes a workload's addresses as it had them before.
    ///
    /// # Errors
    /// [`NoAddress::Taken`] when another has one of them, or it lies outside of its range; then
    /// nothing is taken.
    pub(crate) fn keep(&mut self, id: &WorkloadId, v4: Ipv4Addr, host: Ipv4Addr) -> Result<(), NoAddress> {
        let others = self.workloads.iter().filter(|(key, _)| key.as_str() != id.as_str());
        let virtual_taken = others.map(|(_, v4)| v4).chain(self.services.values()).any(|&taken| taken == v4);
        if virtual_taken || v4.to_bits() & !VIRTUAL_MASK != VIRTUAL || !may_assign(v4) {
            return Err(NoAddress::Taken(v4.into()));
        }
        let host_taken = self.hosts.iter().any(|(key, &taken)| taken == host && key.as_str() != id.as_str());
        if host_taken || !host.is_loopback() || !may_host(host) {
            return Err(NoAddress::Taken(host.into()));
        }
        self.workloads.insert(id.to_string(), v4);
        self.hosts.insert(id.to_string(), host);
        Ok(())
    }

    /// Gives a workload's addresses back.
    pub(crate) fn release(&mut self, id: &WorkloadId) {
        self.workloads.remove(id.as_str());
        self.hosts.remove(id.as_str());
    }

    fn probe(&self, key: &str) -> Result<Ipv4Addr, NoAddress> {
        let taken: BTreeSet<Ipv4Addr> = self.services.values().chain(self.workloads.values()).copied().collect();
        let start = fnv1a(key.as_bytes()) as u32 & VIRTUAL_MASK;
        (start..=start + VIRTUAL_MASK)
            .map(|number| Ipv4Addr::from_bits(VIRTUAL | (number & VIRTUAL_MASK)))
            .find(|v4| may_assign(*v4) && !taken.contains(v4))
            .ok_or(NoAddress::Virtual)
    }
}

impl AddressPair {
    /// The pair whose IPv4 address is `v4`.
    pub(crate) fn of(v4: Ipv4Addr) -> Self {
        Self { v4, v6: Ipv6Addr::from_bits(ULA | u128::from(v4.to_bits())) }
    }

    /// Both, IPv4 first.
    pub(crate) fn to_vec(self) -> Vec<IpAddr> {
        vec![self.v4.into(), self.v6.into()]
    }
}

/// Weft keeps the first 256, and the broadcast-looking last one goes to nobody.
fn may_assign(v4: Ipv4Addr) -> bool {
    let [_, _, x, y] = v4.octets();
    x != 0 && (x, y) != (255, 255)
}

/// 127.0.0.0/24 is the host's own (resolvers at 127.0.0.53 too), 127.0.53.0/24 marks colliding
/// names in DNS (ICANN), and 127.255.255.255 is a broadcast address that can't be bound.
fn may_host(host: Ipv4Addr) -> bool {
    let [_, x, y, z] = host.octets();
    !matches!((x, y), (0, 0 | 53) | (255, 255)) && z != 0 && z != 255
}

const VIRTUAL: u32 = Ipv4Addr::new(240, 240, 0, 0).to_bits();
const VIRTUAL_MASK: u32 = 0x0000_ffff;
const LOOPBACK: u32 = Ipv4Addr::new(127, 0, 0, 0).to_bits();
const HOST_MASK: u32 = 0x00ff_ffff;
const ULA: u128 = Ipv6Addr::new(0xfd77, 0x6566, 0x7400, 0, 0, 0, 0, 0).to_bits();
const MAX_HOST_TRIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> WorkloadId {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_depends_on_nothing_but_the_name() {
        let first = Addresses::default().service("default", "web").unwrap();
        let mut other = Addresses::default();
        other.service("default", "api").unwrap();
        assert_eq!(other.service("default", "web").unwrap(), first);
        assert_eq!(first.v4.octets()[..2], [240, 240]);
        assert_eq!(first.v6.segments()[..3], [0xfd77, 0x6566, 0x7400]);
        assert_eq!(AddressPair::of(NAMESERVER).v6, "fd77:6566:7400::f0f0:35".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn every_address_is_used_once_and_the_reserved_never() {
        let mut addresses = Addresses::default();
        let mut seen = BTreeSet::new();
        for number in 0..400 {
            let service = addresses.service("default", &format!("s{number}")).unwrap();
            let workload = addresses.workload(&id(&format!("default/s{number}"))).unwrap();
            assert!(seen.insert(service.v4) && seen.insert(workload.v4));
            assert!(service.v4.octets()[2] != 0 && workload.v4.octets()[2] != 0);
        }
    }

    #[test]
    fn collisions_are_settled_and_recorded() {
        let alone = Addresses::default().service("default", "web").unwrap();
        let mut addresses = Addresses::default();
        addresses.workloads.insert("default/other".to_owned(), alone.v4);
        let settled = addresses.service("default", "web").unwrap();
        assert_ne!(settled, alone);
        addresses.release(&id("default/other"));
        let text = serde_json::to_string(&addresses).unwrap();
        let mut restarted: Addresses = serde_json::from_str(&text).unwrap();
        assert_eq!(restarted.service("default", "web").unwrap(), settled);
    }

    #[test]
    fn a_full_range_is_an_error() {
        let mut addresses = Addresses::default();
        for number in 256..65_535u32 {
            addresses.services.insert(number.to_string(), Ipv4Addr::from_bits(VIRTUAL | number));
        }
        assert_eq!(addresses.service("default", "web"), Err(NoAddress::Virtual));
    }

    #[test]
    fn host_addresses_are_free_and_avoid_the_hosts_own() {
        let mut addresses = Addresses::default();
        let first = addresses.host(&id("default/a"), |_| true).unwrap();
        let mut again = Addresses::default();
        let next = again.host(&id("default/a"), |host| host != first).unwrap();
        assert!(next != first && next.is_loopback());
        let tried = std::cell::Cell::new(0);
        let never = |_| {
            tried.set(tried.get() + 1);
            false
        };
        assert_eq!((Addresses::default().host(&id("default/a"), never), tried.get()), (Err(NoAddress::Host), 256));
        for host in ["127.0.0.1", "127.0.0.53", "127.0.53.53", "127.255.255.254", "127.1.1.0"] {
            assert!(!may_host(host.parse().unwrap()), "{host}");
        }
        assert!(may_host("127.0.1.1".parse().unwrap()));
    }

    #[test]
    fn what_was_assigned_can_be_kept_unless_another_has_it() {
        let (a, b) = (id("default/a"), id("default/b"));
        let (v4, host) = ("240.240.9.9".parse().unwrap(), "127.9.9.9".parse().unwrap());
        let mut addresses = Addresses::default();
        addresses.keep(&a, v4, host).unwrap();
        addresses.keep(&a, v4, host).unwrap();
        assert_eq!(addresses.workload(&a).unwrap().v4, v4);
        assert_eq!(addresses.host(&a, |_| false), Ok(host));
        assert_eq!(addresses.keep(&b, v4, "127.9.9.8".parse().unwrap()), Err(NoAddress::Taken(v4.into())));
        for (v4, host) in [("240.240.0.53", "127.9.9.8"), ("10.0.0.1", "127.9.9.8"), ("240.240.9.8", "10.0.0.1")] {
            assert!(addresses.keep(&b, v4.parse().unwrap(), host.parse().unwrap()).is_err());
        }
        addresses.release(&a);
        addresses.keep(&b, v4, host).unwrap();
    }
}
