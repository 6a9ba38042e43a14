//! SPIFFE IDs, trust domains and workloads' names.

use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

/// `SpiffeId`, `TrustDomain` and `WorkloadId` out of one text.
///
/// # Panics
/// When a name isn't the text that it was read from, or not the same when put together of its parts.
pub fn mesh_name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.as_str(), text);
        assert_eq!(SpiffeId::parse_lenient(id.principal()), Ok(id.clone()));
        let domain: TrustDomain = id.trust_domain().parse().expect("an ID's trust domain is one");
        assert_eq!(SpiffeId::new(&domain, id.namespace(), id.service_account()), Ok(id.clone()));
        assert!(!id.namespace().contains('/') && !id.service_account().contains(['/', '?', '#', '%']));
    }
    if let Ok(id) = SpiffeId::parse_lenient(text) {
        assert!(id.as_str() == text || id.principal() == text);
    }
    if let Ok(domain) = text.parse::<TrustDomain>() {
        assert_eq!(domain.as_str(), text);
    }
    if let Ok(workload) = text.parse::<WorkloadId>() {
        assert_eq!(workload.as_str(), text);
        assert_eq!(WorkloadId::new(workload.namespace(), workload.name()), Ok(workload.clone()));
    }
}
