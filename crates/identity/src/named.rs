//! A TLS server that is known by DNS names, for callers that know no SPIFFE: the API server, when
//! it calls a webhook.
//!
//! Its authority signs one certificate and is forgotten, so that no key is left that could sign another.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::authority::{AuthorityError, dated_params};
use crate::certificate;
use crate::provider::provider;

/// A server's certificate and key, and the authority by which callers know it; all PEM.
pub struct NamedServer {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key: secret; wiped when this is dropped.
    pub key_pem: String,
    /// The authority's certificate.
    pub authority_pem: String,
}

impl NamedServer {
    /// Makes an authority and a certificate for these DNS names, both for `lifetime`.
    ///
    /// # Errors
    /// [`AuthorityError`], when a name is none, the lifetime can't be said, or randomness fails.
    pub fn generate(names: &[&str], lifetime: Duration, now: SystemTime) -> Result<Self, AuthorityError> {
        let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut above = dated_params(now, lifetime, None)?;
        above.distinguished_name = DistinguishedName::new();
        above.distinguished_name.push(DnType::OrganizationName, "Weft");
        above.distinguished_name.push(DnType::CommonName, "webhooks");
        above.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        above.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = above.self_signed(&authority_key)?.der().clone();
        let mut params = dated_params(now, lifetime, None)?;
        params.distinguished_name = DistinguishedName::new();
        let names: Result<Vec<_>, _> = names.iter().map(|name| (*name).try_into().map(SanType::DnsName)).collect();
        params.subject_alt_names = names?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_ca_cert_der(&authority, authority_key)?;
        let leaf = params.signed_by(&key, &issuer)?.der().clone();
        Ok(Self {
            certificate_pem: certificate::to_pem(&leaf),
            key_pem: key.serialize_pem(),
            authority_pem: certificate::to_pem(&authority),
        })
    }

    /// How a server that has this certificate shakes hands; callers need no certificate.
    ///
    /// # Errors
    /// [`NamedServerError`], when the texts are no certificate and its key.
    pub fn config(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, NamedServerError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem).collect();
        let chain = chain.map_err(|error| NamedServerError::Certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| NamedServerError::Key(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for NamedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedServer").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Drop for NamedServer {
    fn drop(&mut self) {
        self.key_pem.zeroize();
    }
}

/// Why a server's certificate can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NamedServerError {
    /// No certificate.
    #[error("expected a certificate in PEM, found none ({0})")]
    Certificate(String),
    /// No private key.
    #[error("expected a private key in PEM, found none ({0})")]
    Key(String),
    /// They don't fit together, or TLS refuses them.
    #[error("certificate and key can't be used: {0}")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::certificate::Certificate;

    #[test]
    fn a_server_is_made_and_taken_up() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let server = NamedServer::generate(&["a.b.svc"], Duration::from_secs(3600), now).unwrap();
        assert!(NamedServer::config(server.certificate_pem.as_bytes(), server.key_pem.as_bytes()).is_ok());
        let leaf = CertificateDer::from_pem_slice(server.certificate_pem.as_bytes()).unwrap();
        let leaf = Certificate::parse(&leaf).unwrap();
        assert_eq!(leaf.not_after, now + Duration::from_secs(3600));
        assert!(!leaf.authority);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let make = || NamedServer::generate(&["a.b.svc"], Duration::from_secs(3600), now).unwrap();
        let (one, other) = (make(), make());
        let refused =
            |certificate: &str, key: &str| NamedServer::config(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(refused(&one.certificate_pem, &other.key_pem), NamedServerError::Tls(_)));
        assert!(matches!(refused(&one.certificate_pem, "nothing"), NamedServerError::Key(_)));
        assert!(matches!(refused("nothing", &one.key_pem), NamedServerError::Tls(_)));
        assert!(NamedServer::generate(&["ä"], Duration::from_secs(3600), now).is_err());
    }
}
