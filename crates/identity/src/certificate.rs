//! What a certificate says: its names, its dates, and the one SPIFFE ID of a leaf.
//!
//! Reads and never verifies: whether the certificate may be believed is `verify`'s question.

use std::time::SystemTime;

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::clock;
use crate::key_kind::KeyKind;
use weft_mesh::{NameError, SpiffeId};

/// The SPIFFE ID of the peer whose verified chain this is (its leaf stands first).
///
/// Ask only of a connection whose handshake is complete: the verifiers have read the leaf strictly by
/// then, so that this may be the fastest reader (0.5 µs against 3.3).
///
/// # Errors
/// [`IdentityError`], when the leaf hasn't exactly one URI, or it is no workload's SPIFFE ID.
pub fn peer_identity(certs: &[CertificateDer<'_>]) -> Result<SpiffeId, IdentityError> {
    let leaf = certs.first().ok_or(IdentityError::NoCertificate)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| Malformed(format!("bytes that aren't one ({error})")))?;
    only_uri(leaf.valid_uri_names())
}

/// Why a certificate names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The peer showed no certificate.
    #[error("expected a certificate, found none")]
    NoCertificate,
    /// The bytes are no certificate.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The certificate belongs to an authority: a workload's may not sign others.
    #[error("expected a workload's certificate, found one that may sign others")]
    Authority,
    /// There isn't exactly one URI among the subject's alternative names.
    #[error("expected one URI among the certificate's names, found {0}")]
    Uris(usize),
    /// An alternative name or another extension can't be read, so that nobody can say whether it hides a second URI.
    #[error("expected readable names and extensions in the certificate, found one that isn't")]
    UnreadableName,
    /// The URI is no SPIFFE ID of a workload.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What a certificate says of itself, for people to read. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name; of a workload's certificate see [`crate::Bearer`].
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// Every URI among the subject's alternative names.
    pub uris: Vec<String>,
    /// The serial number in hexadecimal, with colons between the octets.
    pub serial: String,
    /// From when on it holds.
    pub not_before: SystemTime,
    /// The last second at which it holds.
    pub not_after: SystemTime,
    /// Whether it may sign other certificates.
    pub authority: bool,
    /// Of which kind its key is.
    pub key: KeyKind,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Malformed`], when the bytes are no certificate.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        parse(der).map(|certificate| Self::of(&certificate))
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let names = certificate.subject_alternative_name().ok().flatten();
        let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(uri);
        Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            uris: uris.map(str::to_owned).collect(),
            serial: certificate.raw_serial_as_string(),
            not_before: clock::from_seconds(certificate.validity().not_before.timestamp()),
            not_after: clock::from_seconds(certificate.validity().not_after.timestamp()),
            authority: certificate.is_ca(),
            key: KeyKind::of(certificate),
        }
    }
}

/// The bytes are no certificate (RFC 5280, section 4.1); says what was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an X.509 certificate, found {0}")]
pub struct Malformed(String);

/// Reads a certificate, to the last byte.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Malformed> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(Malformed(format!("{} more bytes after one", rest.len()))),
        Err(error) => Err(Malformed(format!("bytes that aren't one ({error})"))),
    }
}

/// Every certificate of a text in PEM, in order; at least one, and nothing else that is PEM.
///
/// # Errors
/// What was found instead.
pub(crate) fn ders(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let sections = pem::parse_many(text).map_err(|error| error.to_string())?;
    // The parser passes over a section that was cut off.
    if sections.len() != text.matches("-----BEGIN ").count() {
        return Err("a section without its end".to_owned());
    }
    match sections.iter().find(|section| section.tag() != PEM_TAG) {
        Some(other) => Err(format!("a section named {:?}", other.tag())),
        None if sections.is_empty() => Err("no section".to_owned()),
        None => Ok(sections.into_iter().map(|section| section.into_contents().into()).collect()),
    }
}

/// A certificate in PEM with Unix line ends.
pub(crate) fn to_pem(der: &CertificateDer<'_>) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(PEM_TAG, der.as_ref()), lines)
}

/// The ID of a leaf that isn't trusted yet, read strictly.
pub(crate) fn verifiable_identity(der: &[u8]) -> Result<SpiffeId, IdentityError> {
    leaf_identity(&parse(der)?)
}

/// The ID of a leaf: its only URI, and only if it can't sign (SPIFFE X.509-SVID, sections 2, 4.1 and 4.3).
pub(crate) fn leaf_identity(certificate: &X509Certificate<'_>) -> Result<SpiffeId, IdentityError> {
    let unreadable = |_| IdentityError::UnreadableName;
    let constraints = certificate.basic_constraints().map_err(unreadable)?;
    let usage = certificate.key_usage().map_err(unreadable)?;
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
    if signs || constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(IdentityError::Authority);
    }
    let names = certificate.subject_alternative_name().map_err(unreadable)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(IdentityError::UnreadableName);
    }
    only_uri(names.iter().filter_map(uri))
}

fn only_uri<'a>(mut uris: impl Iterator<Item = &'a str>) -> Result<SpiffeId, IdentityError> {
    let Some(uri) = uris.next() else { return Err(IdentityError::Uris(0)) };
    match uris.count() {
        0 => Ok(uri.parse()?),
        more => Err(IdentityError::Uris(1 + more)),
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

/// RFC 7468, section 5.
const PEM_TAG: &str = "CERTIFICATE";
