//! One certificate of an authority with its private key: made, taken up, and used to sign.
//!
//! Knows nothing of leaves: what is signed is the caller's to say.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::link::{self, Link};
use super::{AuthorityError, CLOCK_SKEW, Role};
use crate::clock;
use weft_mesh::TrustDomain;

/// A certificate that may sign others, and its key.
pub(super) struct Signer {
    link: Link,
    signer: Issuer<'static, KeyPair>,
}

impl Signer {
    /// A new root, signed by itself.
    pub(super) fn root(domain: &TrustDomain, now: SystemTime, lifetime: Duration) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        // No bound on the length of the path: a later root may have to be signed by this one.
        let basic = BasicConstraints::Unconstrained;
        let params = authority_params(Role::Root, domain, basic, dated_params(now, lifetime, None)?)?;
        let der = params.self_signed(&key)?.der().clone();
        Self::new(Role::Root, der, key)
    }

    /// A new issuer of leaves, signed by `root`, which it doesn't outlive.
    pub(super) fn issuer(
        root: &Self,
        domain: &TrustDomain,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let dated = dated_params(now, lifetime, Some(root.link.certificate().not_after))?;
        let params = authority_params(Role::Issuer, domain, BasicConstraints::Constrained(0), dated)?;
        let der = root.sign(&params, &key)?;
        Self::new(Role::Issuer, der, key)
    }

    /// Takes up a certificate and its key.
    pub(super) fn with_key(link: Link, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Key { role: link.role().to_string() })?;
        Self::join(link, key)
    }

    fn new(role: Role, der: CertificateDer<'static>, key: KeyPair) -> Result<Self, AuthorityError> {
        Self::join(Link::new(role, der)?, key)
    }

    fn join(link: Link, key: KeyPair) -> Result<Self, AuthorityError> {
        let parsed = link::parse(link.role(), link.der())?;
        if !parsed.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.key_cert_sign())) {
            return Err(AuthorityError::NoAuthority { role: link.role().to_string() });
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch { role: link.role().to_string() });
        }
        let signer = Issuer::from_ca_cert_der(link.der(), key)?;
        Ok(Self { link, signer })
    }

    /// Signs a certificate for a key.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(params.signed_by(key, &self.signer)?.der().clone())
    }

    /// The certificate.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn key_pem(&self) -> String {
        self.signer.key().serialize_pem()
    }
}

/// A URI among the subject's alternative names.
pub(super) fn uri(text: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(text.try_into()?))
}

/// A serial number and the dates: from [`CLOCK_SKEW`] before `now`, for `lifetime`, not beyond `end`.
pub(crate) fn dated_params(
    now: SystemTime,
    lifetime: Duration,
    end: Option<SystemTime>,
) -> Result<CertificateParams, AuthorityError> {
    if lifetime < Duration::from_secs(1) {
        return Err(AuthorityError::Lifetime(lifetime));
    }
    let dates = || {
        let not_after = now.checked_add(lifetime)?;
        let not_after = end.map_or(not_after, |end| end.min(not_after));
        Some((clock::to_calendar(now.checked_sub(CLOCK_SKEW)?)?, clock::to_calendar(not_after)?))
    };
    let (not_before, not_after) = dates().ok_or(AuthorityError::Date { now, lifetime })?;
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (not_before, not_after);
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority_params(
    role: Role,
    domain: &TrustDomain,
    basic: BasicConstraints,
    mut params: CertificateParams,
) -> Result<CertificateParams, AuthorityError> {
    // A part of the serial number tells one root or issuer from the next; the trust domain may be
    // longer than a distinguished name allows, and stands in the URI.
    let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
    let mark: String = serial.iter().take(4).map(|octet| format!("{octet:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Weft");
    params.distinguished_name.push(DnType::CommonName, format!("{role} {mark}"));
    params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
    params.is_ca = IsCa::Ca(basic);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// 128 bits of which the first two are fixed, so that the number is positive and always as long.
fn random_serial() -> Result<[u8; 16], AuthorityError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| AuthorityError::Signing(error.to_string()))?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}
