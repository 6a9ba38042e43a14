//! The TLS of the mesh: both sides verified by identity, TLS 1.3 only, nothing resumed.
//!
//! Resumption would skip the check of the chain. SNI is off, since names on the wire tell a
//! listener who is called. Opens no connection: it makes configurations.

mod unverified;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certificate;
use crate::credential::Credential;
use crate::provider::provider;
use crate::verify::{ClientVerifier, Proof, ServerVerifier};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};

pub use unverified::unverified_client_config;

/// A credential and a trust bundle, from which configurations are made; make a new one when either changes.
///
/// Making a configuration copies references: roots, key and all else are prepared once, here.
#[derive(Clone)]
pub struct MeshTls {
    credential: Arc<Credential>,
    roots: Arc<RootCertStore>,
    server: ServerConfig,
    client: ClientConfig,
}

impl MeshTls {
    /// Prepares the roots of the bundle and the credential, with [`TlsSettings::default`].
    ///
    /// # Errors
    /// [`TrustError`], when the bundle is empty or one of its anchors can't be used (a bundle is taken
    /// whole or not at all).
    pub fn new(credential: Arc<Credential>, trust: &Trust) -> Result<Self, TrustError> {
        Self::with_settings(credential, trust, TlsSettings::default())
    }

    /// Prepares the roots of the bundle and the credential.
    ///
    /// # Errors
    /// As for [`MeshTls::new`].
    pub fn with_settings(
        credential: Arc<Credential>,
        trust: &Trust,
        settings: TlsSettings,
    ) -> Result<Self, TrustError> {
        let roots = Arc::new(roots(trust)?);
        let identity = Arc::new(SingleCertAndKey::from(Arc::clone(credential.certified())));
        let domains = std::iter::once(&trust.domain).chain(&settings.aliases).cloned().collect();
        let server = server_base(client_verifier(&roots, (domains, Proof::Required))?, &identity, &settings)?;
        let client = client_base(server_verifier(&roots, &[]), &identity, &settings)?;
        Ok(Self { credential, roots, server, client })
    }

    /// The credential that peers are shown.
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// For the accepting side: every client must prove an identity of the mesh's trust domains.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = self.server.clone();
        config.alpn_protocols = owned(alpn);
        Arc::new(config)
    }

    /// For the connecting side: the server must be one of `expected`, and with none expected nobody is.
    ///
    /// Use [`server_name`] for the name that rustls asks for. A server that knows no ALPN agrees to
    /// none: look at what was agreed.
    pub fn client_config(&self, expected: &[SpiffeId], alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.dangerous().set_certificate_verifier(server_verifier(&self.roots, expected));
        config.alpn_protocols = owned(alpn);
        Arc::new(config)
    }
}

/// For an accepting side that also serves clients who have no identity yet: one that shows a certificate
/// must prove an identity of the trust domain, and one that shows none is nobody.
///
/// # Errors
/// As for [`MeshTls::new`].
pub fn server_config_for_anyone(
    credential: &Credential,
    trust: &Trust,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, TrustError> {
    let roots = Arc::new(roots(trust)?);
    let verifier = client_verifier(&roots, ([trust.domain.clone()].into(), Proof::Optional))?;
    let identity = Arc::new(SingleCertAndKey::from(Arc::clone(credential.certified())));
    let mut config = server_base(verifier, &identity, &TlsSettings::default())?;
    config.alpn_protocols = owned(alpn);
    Ok(Arc::new(config))
}

/// For a connecting side that has no identity yet: it shows no certificate. The server must be one of
/// `expected`.
///
/// # Errors
/// As for [`MeshTls::new`].
pub fn client_config_without_identity(
    trust: &Trust,
    expected: &[SpiffeId],
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, TrustError> {
    let verifier = server_verifier(&Arc::new(roots(trust)?), expected);
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = owned(alpn);
    Ok(Arc::new(config))
}

/// Whether peers who trust this accept a chain (PEM, leaf first) at `now`.
///
/// # Errors
/// Why they don't.
pub(crate) fn accepts(chain_pem: &[String], trust: &Trust, now: SystemTime) -> Result<(), String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let roots = roots(trust).map_err(|error| text(&error))?;
    let ders = certificate::ders(&chain_pem.concat())?;
    let (leaf, rest) = ders.split_first().ok_or("no certificate")?;
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| text(&error))?;
    let since = now.duration_since(UNIX_EPOCH).map_err(|error| text(&error))?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, rest, UnixTime::since_unix_epoch(since), algorithms)
        .map_err(|error| text(&error))
}

/// What can be chosen about the mesh's TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Trust domains whose workloads are served too, under the same anchors.
    pub aliases: Vec<TrustDomain>,
    /// The clock that says whether a peer's certificate holds.
    pub time: Arc<dyn TimeProvider>,
}

impl Default for TlsSettings {
    /// No aliases; the system's clock.
    fn default() -> Self {
        Self { aliases: Vec::new(), time: Arc::new(DefaultTimeProvider) }
    }
}

/// A name for rustls's client, which asks for one: it is neither sent nor compared.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

/// Why a trust bundle can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bundle holds no anchor, so that nobody could be trusted.
    #[error("expected at least one anchor in the trust bundle, found none")]
    Empty,
    /// An anchor is no certificate that rustls can use.
    #[error("expected anchor {place} of the trust bundle to be a certificate, found {found}")]
    Anchor {
        /// Which, counted from 0.
        place: usize,
        /// What was wrong with it.
        found: String,
    },
    /// rustls refuses the configuration.
    #[error("expected a TLS configuration, found {0}")]
    Rejected(String),
}

impl From<rustls::Error> for TrustError {
    fn from(error: rustls::Error) -> Self {
        Self::Rejected(error.to_string())
    }
}

fn roots(trust: &Trust) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for (place, anchor) in trust.anchors.iter().enumerate() {
        let added = roots.add(CertificateDer::from(anchor.clone()));
        added.map_err(|error| TrustError::Anchor { place, found: error.to_string() })?;
    }
    if roots.is_empty() { Err(TrustError::Empty) } else { Ok(roots) }
}

fn server_base(
    verifier: Arc<ClientVerifier>,
    identity: &Arc<SingleCertAndKey>,
    settings: &TlsSettings,
) -> Result<ServerConfig, TrustError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::clone(&settings.time))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(identity) as _);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    Ok(config)
}

fn client_verifier(
    roots: &Arc<RootCertStore>,
    (domains, proof): (Arc<[TrustDomain]>, Proof),
) -> Result<Arc<ClientVerifier>, TrustError> {
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| TrustError::Rejected(error.to_string()))?;
    Ok(Arc::new(ClientVerifier { chain, domains, proof }))
}

fn client_base(
    verifier: Arc<ServerVerifier>,
    identity: &Arc<SingleCertAndKey>,
    settings: &TlsSettings,
) -> Result<ClientConfig, TrustError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::clone(&settings.time))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::clone(identity) as _);
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_secret_extraction = true;
    Ok(config)
}

fn server_verifier(roots: &Arc<RootCertStore>, expected: &[SpiffeId]) -> Arc<ServerVerifier> {
    let algorithms = provider().signature_verification_algorithms;
    Arc::new(ServerVerifier { roots: Arc::clone(roots), algorithms, expected: expected.into() })
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

#[cfg(test)]
mod tests;
