//! Which pod an address belongs to. Two may claim one for a moment, when one has gone and its address
//! was given on before the watch told so: then it is the newer one's. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use weft_mesh::WorkloadId;

use super::pod::Place;

/// Who claims which address, and since when.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    claims: HashMap<IpAddr, Vec<(i64, WorkloadId)>>,
}

/// Addresses that have changed hands, and the pods that had or have them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Affected {
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) pods: BTreeSet<WorkloadId>,
}

/// Where a pod is, and when it was made.
pub(crate) type Claim = Option<(Place, i64)>;

impl Holders {
    /// Whose an address is.
    pub(crate) fn of(&self, address: IpAddr) -> Option<&WorkloadId> {
        self.claims.get(&address)?.iter().max().map(|(_, pod)| pod)
    }

    /// A pod has other addresses, or none any more.
    pub(crate) fn replace(&mut self, pod: &WorkloadId, old: Claim, new: Claim) -> Affected {
        let (old, _) = addresses(old);
        let (new, created) = addresses(new);
        let mut affected = Affected::default();
        for address in old.iter().chain(&new).copied().collect::<BTreeSet<IpAddr>>() {
            let before = self.of(address).cloned();
            let claims = self.claims.entry(address).or_default();
            claims.retain(|(_, other)| other != pod);
            if new.contains(&address) {
                claims.push((created, pod.clone()));
            }
            if claims.is_empty() {
                self.claims.remove(&address);
            }
            let after = self.of(address).cloned();
            if before != after {
                affected.addresses.insert(address);
                affected.pods.extend(before.into_iter().chain(after));
            }
        }
        affected
    }
}

fn addresses(claim: Claim) -> (Vec<IpAddr>, i64) {
    match claim {
        Some((Place::Own(addresses), created)) => (addresses, created),
        Some((Place::Host | Place::Gone, created)) => (Vec::new(), created),
        None => (Vec::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(addresses: &[&str], created: i64) -> Claim {
        Some((Place::Own(addresses.iter().map(|text| text.parse().unwrap()).collect()), created))
    }

    #[test]
    fn the_newer_pod_has_the_address() {
        let (old, new): (WorkloadId, WorkloadId) = ("a/old".parse().unwrap(), "a/new".parse().unwrap());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let mut holders = Holders::default();
        assert_eq!(holders.replace(&old, None, claim(&["10.0.0.1", "fd00::1"], 5)).addresses.len(), 2);
        let affected = holders.replace(&new, None, claim(&["10.0.0.1"], 9));
        assert_eq!(affected.addresses, [address].into());
        assert_eq!(affected.pods, [old.clone(), new.clone()].into());
        assert_eq!(holders.of(address), Some(&new));
        // The older one's end takes nothing from the newer.
        let affected = holders.replace(&old, claim(&["10.0.0.1", "fd00::1"], 5), None);
        assert_eq!(affected.addresses, ["fd00::1".parse().unwrap()].into());
        assert_eq!(holders.of(address), Some(&new));
        holders.replace(&new, claim(&["10.0.0.1"], 9), Some((Place::Gone, 9)));
        assert_eq!(holders.of(address), None);
        assert!(holders.claims.is_empty());
    }
}
