//! TLS 1.3 as HBONE wants it: both sides authenticated, ALPN h2, the peer's SPIFFE ID compared, and no names of DNS.
//! Knows nothing of HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error};
use rustls::{OtherError, RootCertStore, ServerConfig, SignatureScheme};
use serde_json::{Value, json};
use webpki::EndEntityCert;

/// Where one side's certificate, key and anchors lie, all in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
    /// The trust anchors.
    pub ca: PathBuf,
}

/// The side that dials; `expected` are the SPIFFE IDs of which the server's leaf must carry one.
///
/// # Errors
/// A text that names the file or the step.
pub fn client(files: &Files, expected: Vec<String>) -> Result<Arc<ClientConfig>, String> {
    client_of(provider(), files, expected)
}

/// The same, of a build that knows no key exchange but P-256, as ztunnel's with FIPS libraries.
///
/// # Errors
/// As [`client`].
pub fn fips_client(files: &Files, expected: Vec<String>) -> Result<Arc<ClientConfig>, String> {
    client_of(fips_provider(), files, expected)
}

fn client_of(provider: CryptoProvider, files: &Files, expected: Vec<String>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider);
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Servers { roots: anchors(files)?, algorithms, expected };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| format!("versions: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain(&files.cert)?, key(files)?)
        .map_err(|e| format!("certificate: {e}"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The side that accepts: callers of its own trust domain.
///
/// # Errors
/// A text that names the file or the step.
pub fn server(files: &Files) -> Result<Arc<ServerConfig>, String> {
    server_of(provider(), files)
}

/// The same, of a build that knows no key exchange but P-256, as ztunnel's with FIPS libraries.
///
/// # Errors
/// As [`server`].
pub fn fips_server(files: &Files) -> Result<Arc<ServerConfig>, String> {
    server_of(fips_provider(), files)
}

fn server_of(provider: CryptoProvider, files: &Files) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider);
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors(files)?), provider.clone())
        .build()
        .map_err(|e| format!("anchors: {e}"))?;
    let chain = chain(&files.cert)?;
    let own = chain.first().map(uri_names).unwrap_or_default();
    let trust_domain = own.iter().find_map(|id| trust_domain(id)).ok_or("expected a SPIFFE ID in the certificate")?;
    let verifier = Callers { inner, trust_domain: trust_domain.to_owned() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| format!("versions: {e}"))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key(files)?)
        .map_err(|e| format!("certificate: {e}"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// What a handshake came to.
#[derive(Debug, Clone)]
pub struct Session {
    /// The URI SANs of the peer's leaf; a SPIFFE leaf has one (X.509-SVID, section 2).
    pub ids: Vec<String>,
    /// Version, suite, group and ALPN protocol, for an event.
    pub facts: Value,
    /// What is against HBONE.
    pub violations: Vec<String>,
}

impl Session {
    /// Reads a finished handshake; `sni` is the name that a client sent.
    #[must_use]
    pub fn of(state: &CommonState, sni: Option<&str>) -> Self {
        let ids = state.peer_certificates().and_then(<[_]>::first).map(uri_names).unwrap_or_default();
        let mut violations = Vec::new();
        if state.alpn_protocol() != Some(ALPN) {
            violations.push("expected ALPN h2".into());
        }
        if ids.len() != 1 {
            violations.push(format!("expected one URI SAN, found {ids:?}"));
        }
        if let Some(name) = sni {
            violations.push(format!("expected no SNI, found {name}"));
        }
        let facts = json!({
            "version": state.protocol_version().map(|version| format!("{version:?}")),
            "suite": state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
            "group": state.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
            "alpn": state.alpn_protocol().map(String::from_utf8_lossy),
        });
        Self { ids, facts, violations }
    }
}

fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
    CryptoProvider {
        cipher_suites: vec![TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    }
}

fn fips_provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::SECP256R1], ..provider() }
}

fn anchors(files: &Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in chain(&files.ca)? {
        roots.add(cert).map_err(|e| format!("{}: {e}", files.ca.display()))?;
    }
    Ok(roots)
}

fn chain(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| format!("{}: expected certificates in PEM: {e}", path.display()))
}

fn key(files: &Files) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(&files.key).map_err(|e| format!("{}: expected a key in PEM: {e}", files.key.display()))
}

fn uri_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok(cert) = EndEntityCert::try_from(leaf) else { return Vec::new() };
    cert.valid_uri_names().map(str::to_owned).collect()
}

fn trust_domain(id: &str) -> Option<&str> {
    id.strip_prefix("spiffe://")?.split('/').next().filter(|domain| !domain.is_empty())
}

fn refusal(text: String) -> Error {
    let cause: Arc<dyn std::error::Error + Send + Sync> = Arc::from(Box::from(text));
    Error::InvalidCertificate(CertificateError::Other(OtherError(cause)))
}

#[derive(Debug)]
struct Servers {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    expected: Vec<String>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        let found = uri_names(leaf);
        if found.iter().any(|id| self.expected.contains(id)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(refusal(format!("expected a server {:?}, found {found:?}", self.expected)))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("expected TLS 1.3, found TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct Callers {
    inner: Arc<dyn ClientCertVerifier>,
    trust_domain: String,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(leaf, intermediates, now)?;
        let found = uri_names(leaf);
        if found.iter().any(|id| trust_domain(id) == Some(&self.trust_domain)) {
            return Ok(verified);
        }
        Err(refusal(format!("expected a caller of {}, found {found:?}", self.trust_domain)))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("expected TLS 1.3, found TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

const ALPN: &[u8] = b"h2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spiffe_ids_have_a_trust_domain() {
        assert_eq!(trust_domain("spiffe://cluster.local/ns/a/sa/b"), Some("cluster.local"));
        assert_eq!(trust_domain("spiffe:///ns/a/sa/b"), None);
        assert_eq!(trust_domain("https://cluster.local/ns/a/sa/b"), None);
    }
}
