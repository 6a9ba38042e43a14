//! What several tests need: a fixed time, an authority, credentials, and leaves that no authority would sign.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::authority::{Authority, AuthorityLifetimes};
use crate::credential::{Credential, LeafKey};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The time of every test.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn id(account: &str) -> SpiffeId {
    SpiffeId::new(&TrustDomain::default(), "shop", account).unwrap()
}

pub(crate) fn authority() -> Authority {
    Authority::generate(&TrustDomain::default(), now(), AuthorityLifetimes::default()).unwrap()
}

pub(crate) fn trust(authority: &Authority) -> Trust {
    Trust { anchors: authority.anchors(), ..Trust::default() }
}

pub(crate) fn credential(authority: &Authority, id: &SpiffeId) -> Arc<Credential> {
    let key = LeafKey::generate().unwrap();
    let leaf = authority.sign(&key.csr_pem(id).unwrap(), id, HOUR, now()).unwrap();
    Arc::new(Credential::new(key, &leaf.chain_pem, now()).unwrap())
}

/// What an authority wouldn't sign as it stands: set what should be wrong, then sign it.
pub(crate) fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = (now() - HOUR).into();
    params.not_after = (now() + HOUR).into();
    params
}

/// A leaf of `params` under the authority's issuer: chain and private key.
pub(crate) fn forged(authority: &Authority, params: &CertificateParams) -> (Vec<CertificateDer<'static>>, KeyPair) {
    let pem = authority.to_pem().unwrap();
    let issuer_der = pem::parse(&pem.issuer_certificate).unwrap().into_contents();
    let signer =
        Issuer::from_ca_cert_pem(&pem.issuer_certificate, KeyPair::from_pem(&pem.issuer_key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &signer).unwrap();
    (vec![leaf.der().clone(), issuer_der.into()], key)
}

/// A chain and a key as a peer would show them, right or wrong.
pub(crate) fn shown(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<SingleCertAndKey> {
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signing = crate::provider().key_provider.load_private_key(der.into()).unwrap();
    Arc::new(CertifiedKey::new(chain, signing).into())
}
