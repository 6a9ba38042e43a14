//! TLS as the floor speaks it: TLS 1.3 only, both sides authenticated, the peer's SPIFFE ID compared, no resumption.
//! The suites and groups are Weft's, in Weft's order. Knows nothing of sockets.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig};
use rustls::{Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use webpki::EndEntityCert;

/// Whose certificate one side shows, whom it trusts, and whom it expects.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The chain, leaf first, in PEM.
    pub cert: PathBuf,
    /// The leaf's key, in PEM.
    pub key: PathBuf,
    /// The trust anchors, in PEM.
    pub anchors: PathBuf,
    /// The SPIFFE ID that the peer's leaf must carry as URI SAN.
    pub peer: String,
}

/// The side that dials.
///
/// # Errors
/// A text that names the file or the step that failed.
pub fn client(identity: &Identity) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider());
    let verifier = Peer {
        roots: anchors(identity)?,
        algorithms: provider.signature_verification_algorithms,
        expected: identity.peer.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| format!("versions: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain(identity)?, key(identity)?)
        .map_err(|e| format!("certificate: {e}"))?;
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The side that accepts.
///
/// # Errors
/// A text that names the file or the step that failed.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider());
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors(identity)?), provider.clone())
        .build()
        .map_err(|e| format!("anchors: {e}"))?;
    let verifier = Caller { inner, expected: identity.peer.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| format!("versions: {e}"))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain(identity)?, key(identity)?)
        .map_err(|e| format!("certificate: {e}"))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The suite whose hash has instructions of its own comes first; the hybrid group likewise, for Weft prefers it.
fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }
}

fn anchors(identity: &Identity) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(&identity.anchors)? {
        roots.add(cert).map_err(|e| format!("{}: {e}", identity.anchors.display()))?;
    }
    Ok(roots)
}

fn chain(identity: &Identity) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(&identity.cert)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| format!("{}: expected certificates in PEM: {e}", path.display()))
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|e| format!("{}: expected a key in PEM: {e}", identity.key.display()))
}

fn compare(leaf: &CertificateDer<'_>, expected: &str) -> Result<(), Error> {
    let cert = EndEntityCert::try_from(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    if cert.valid_uri_names().any(|name| name == expected) {
        return Ok(());
    }
    Err(CertificateError::NotValidForName.into())
}

#[derive(Debug)]
struct Peer {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    expected: String,
}

impl ServerCertVerifier for Peer {
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
        compare(leaf, &self.expected)?;
        Ok(ServerCertVerified::assertion())
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
struct Caller {
    inner: Arc<dyn ClientCertVerifier>,
    expected: String,
}

impl ClientCertVerifier for Caller {
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
        compare(leaf, &self.expected)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
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
