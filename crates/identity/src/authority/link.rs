//! A certificate of an authority without its key: an anchor, an issuer, or one between them.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::{AuthorityError, Role};
use crate::certificate::{self, Certificate};
use crate::clock;
use weft_mesh::TrustDomain;

/// A certificate that may sign others.
#[derive(Clone)]
pub(super) struct Link {
    role: Role,
    der: CertificateDer<'static>,
    pem: String,
    certificate: Certificate,
}

impl Link {
    /// Reads a certificate, which must be an authority's.
    pub(super) fn new(role: Role, der: CertificateDer<'static>) -> Result<Self, AuthorityError> {
        let parsed = parse(role, &der)?;
        if !parsed.is_ca() {
            return Err(AuthorityError::NoAuthority { role: role.to_string() });
        }
        let certificate = Certificate::of(&parsed);
        Ok(Self { role, pem: certificate::to_pem(&der), certificate, der })
    }

    /// Every certificate of a text in PEM, in order.
    pub(super) fn all(role: Role, text: &str) -> Result<Vec<Self>, AuthorityError> {
        let ders = certificate::ders(text).map_err(|found| AuthorityError::Pem { role: role.to_string(), found })?;
        if ders.len() > MAX_CERTIFICATES {
            let found = format!("{} of them", ders.len());
            return Err(AuthorityError::Pem { role: role.to_string(), found });
        }
        ders.into_iter().map(|der| Self::new(role, der)).collect()
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

    /// Whether this certificate is the work of `above`.
    pub(super) fn check_signed_by(&self, above: &Self) -> Result<(), AuthorityError> {
        let (parsed, above) = (parse(self.role, &self.der)?, parse(above.role, &above.der)?);
        let named = parsed.issuer().as_raw() == above.subject().as_raw();
        if named && parsed.verify_signature(Some(above.public_key())).is_ok() {
            return Ok(());
        }
        Err(self.unsigned())
    }

    /// The error that nobody who is known signed it.
    pub(super) fn unsigned(&self) -> AuthorityError {
        AuthorityError::Unsigned { role: self.role.to_string(), issuer: self.certificate.issuer.clone() }
    }

    /// The trust domain that the certificate names, if it names one (SPIFFE X.509-SVID, section 4.2).
    pub(super) fn domain(&self) -> Option<TrustDomain> {
        self.certificate.uris.iter().find_map(|uri| uri.strip_prefix("spiffe://")?.parse().ok())
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

pub(super) fn parse(role: Role, der: &[u8]) -> Result<X509Certificate<'_>, AuthorityError> {
    certificate::parse(der).map_err(|source| AuthorityError::Certificate { role: role.to_string(), source })
}

/// More than any chain or bundle in use; a bound, since each costs signatures to check.
const MAX_CERTIFICATES: usize = 16;
