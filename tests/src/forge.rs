//! Certificates for those who try to get in: what a thief of the mesh's own keys could sign, and what anybody
//! can. Knows no policy.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use weft_identity::{Authority, AuthorityLifetimes, Credential, LeafKey, MeshTls};
use weft_mesh::TrustDomain;
use weft_mesh::record::Trust;

use crate::mesh::Mesh;

/// Signs whatever it is told to.
pub struct Forge {
    issuer: Issuer<'static, KeyPair>,
    issuer_certificate: String,
    /// The mesh's own: what those who get in trust.
    trust: Trust,
}

/// Until when a certificate holds; it began in 2020.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It has expired.
    Year2021,
    /// It holds.
    Year2200,
}

impl Forge {
    /// With the keys of a mesh's own authority, which its user has.
    ///
    /// # Panics
    /// When they aren't there.
    pub fn of(mesh: &Mesh) -> Self {
        let read = |name: &str| {
            let path = mesh.home().join(".local/state/weft/authority").join(name);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let anchors = vec![pem::parse(read("root.crt")).expect("a certificate").into_contents()];
        let trust = Trust { domain: TrustDomain::default(), anchors, ..Trust::default() };
        Self::with(read("issuer.crt"), &read("issuer.key"), trust)
    }

    /// With an authority that is the mesh's own in all but its keys.
    ///
    /// # Panics
    /// When none can be made.
    pub fn another(&self) -> Self {
        let now = SystemTime::now();
        let authority = Authority::generate(&self.trust.domain, now, AuthorityLifetimes::default()).expect("keys");
        let pem = authority.to_pem().expect("its keys");
        Self::with(pem.issuer_certificate.clone(), &pem.issuer_key, self.trust.clone())
    }

    fn with(issuer_certificate: String, key: &str, trust: Trust) -> Self {
        let key = KeyPair::from_pem(key).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&issuer_certificate, key).expect("an issuer");
        Self { issuer, issuer_certificate, trust }
    }

    /// What the mesh trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// A certificate that names `id`, signed, and the mesh's TLS with it.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn tls(&self, id: &str, until: Until) -> MeshTls {
        let key = KeyPair::generate().expect("a key");
        let signed = leaf(id, until).signed_by(&key, &self.issuer).expect("a certificate");
        self.shown(&key, &[signed.pem(), self.issuer_certificate.clone()])
    }

    /// Likewise, signed by nobody but itself.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn self_signed(&self, id: &str) -> MeshTls {
        let key = KeyPair::generate().expect("a key");
        let signed = leaf(id, Until::Year2200).self_signed(&key).expect("a certificate");
        self.shown(&key, &[signed.pem()])
    }

    fn shown(&self, key: &KeyPair, chain: &[String]) -> MeshTls {
        let key = LeafKey::from_pem(&key.serialize_pem()).expect("a key");
        let credential = Credential::new(key, chain, SystemTime::UNIX_EPOCH + MIDDLE_OF_2020).expect("a chain");
        MeshTls::new(Arc::new(credential), &self.trust).expect("anchors")
    }
}

fn leaf(id: &str, until: Until) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.try_into().expect("a URI"))];
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(if until == Until::Year2021 { 2021 } else { 2200 }, 1, 1);
    params
}

const MIDDLE_OF_2020: Duration = Duration::from_secs(1_593_561_600);
