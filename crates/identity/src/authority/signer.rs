//! One certificate of an authority with its private key: made, taken up, and used to sign.
//!
//! Knows nothing of leaves: what is signed is the caller's to say.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::{AuthorityError, CLOCK_SKEW, Role};
use crate::certificate::{self, Certificate};
use crate::clock;
use weft_mesh::TrustDomain;

/// A certificate that may sign others, and its key.
pub(super) struct Signer {
    role: Role,
    der: CertificateDer<'static>,
    pem: String,
    certificate: Certificate,
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
        let dated = dated_params(now, lifetime, Some(root.certificate.not_after))?;
        let params = authority_params(Role::Issuer, domain, BasicConstraints::Constrained(0), dated)?;
        let der = root.sign(&params, &key)?;
        Self::new(Role::Issuer, der, key)
    }

    /// Takes up a certificate and its key, and checks that they can sign at `now`.
    pub(super) fn from_pem(
        role: Role,
        certificate_pem: &str,
        key_pem: &str,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let der = one_certificate(role, certificate_pem)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Key { role: role.to_string() })?;
        let signer = Self::new(role, der, key)?;
        signer.check_dates(now)?;
        Ok(signer)
    }

    fn new(role: Role, der: CertificateDer<'static>, key: KeyPair) -> Result<Self, AuthorityError> {
        let malformed = |source| AuthorityError::Certificate { role: role.to_string(), source };
        let parsed = certificate::parse(&der).map_err(malformed)?;
        let may_sign = parsed.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.key_cert_sign()));
        if !may_sign || !parsed.is_ca() {
            return Err(AuthorityError::NoAuthority { role: role.to_string() });
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch { role: role.to_string() });
        }
        let certificate = Certificate::of(&parsed);
        let signer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { role, pem: certificate::to_pem(&der), certificate, signer, der })
    }

    /// Signs a certificate for a key.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(params.signed_by(key, &self.signer)?.der().clone())
    }

    /// Whether the certificate holds at `now`.
    pub(super) fn check_dates(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let (role, dates) = (self.role.to_string(), &self.certificate);
        if now < dates.not_before {
            return Err(AuthorityError::NotYetValid { role, not_before: clock::text(dates.not_before) });
        }
        if now > dates.not_after {
            return Err(AuthorityError::Expired { role, not_after: clock::text(dates.not_after) });
        }
        Ok(())
    }

    /// Whether this certificate is the work of `root`.
    pub(super) fn check_signed_by(&self, root: &Self) -> Result<(), AuthorityError> {
        let malformed = |source| AuthorityError::Certificate { role: self.role.to_string(), source };
        let parsed = certificate::parse(&self.der).map_err(malformed)?;
        let above = certificate::parse(&root.der).map_err(malformed)?;
        let named = parsed.issuer().as_raw() == above.subject().as_raw();
        if named && parsed.verify_signature(Some(above.public_key())).is_ok() {
            return Ok(());
        }
        Err(AuthorityError::Unsigned { role: self.role.to_string(), issuer: self.certificate.issuer.clone() })
    }

    /// The trust domain that the certificate names, if it names one (SPIFFE X.509-SVID, section 4.2).
    pub(super) fn domain(&self) -> Option<TrustDomain> {
        self.certificate.uris.iter().find_map(|uri| uri.strip_prefix("spiffe://")?.parse().ok())
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn key_pem(&self) -> String {
        self.signer.key().serialize_pem()
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
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

fn one_certificate(role: Role, text: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    let wrong = |found| AuthorityError::Pem { role: role.to_string(), found };
    let mut ders = certificate::ders(text).map_err(wrong)?;
    match (ders.pop(), ders.len()) {
        (Some(der), 0) => Ok(der),
        (_, more) => Err(wrong(format!("{} of them", more + 1))),
    }
}
