//! An authority, an identity and a time, all fixed for the life of the process.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weft_identity::{Authority, AuthorityLifetimes, Credential, LeafKey};
use weft_mesh::{SpiffeId, TrustDomain};

/// The authority that the bodies of `weft-identity` ask.
pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    Authority::generate(&TrustDomain::default(), now(), AuthorityLifetimes::default()).expect("keys can be made")
});

/// A workload's credential of that authority.
pub(crate) static CREDENTIAL: LazyLock<std::sync::Arc<Credential>> = LazyLock::new(|| {
    let key = LeafKey::generate().expect("a key can be made");
    let request = key.csr_pem(&id()).expect("a request can be made");
    let signed = AUTHORITY.sign(&request, &id(), HOUR, now()).expect("a good request is signed");
    Credential::new(key, &signed.chain_pem, now()).expect("what was signed is a credential").into()
});

/// The workload that asks: the one for which the seeds of `identity_csr` were made.
pub(crate) fn id() -> SpiffeId {
    SpiffeId::new(&TrustDomain::default(), "default", "web").expect("three good names")
}

/// 2027-01-15T08:00:00Z: within the life of the certificates among the seeds.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// For how long leaves are signed.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
