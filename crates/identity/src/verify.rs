//! Is the peer who it must be? The two verifiers that rustls calls in a handshake.
//!
//! The chain is webpki's work; what is added is that a peer's name is the one URI of its leaf. DNS
//! names and IP addresses are never looked at. Roots are built once and shared by reference.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::certificate::{IdentityError, verifiable_identity};
use weft_mesh::{SpiffeId, TrustDomain};

/// Why a peer whose chain is in order is still refused. Names both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer's certificate names no workload.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The peer is somebody else.
    #[error("expected the peer to be {}, found {found}", listed(expected))]
    WrongIdentity {
        /// Who it might have been.
        expected: Arc<[SpiffeId]>,
        /// Who it is.
        found: SpiffeId,
    },
    /// The peer belongs to another mesh.
    #[error("expected a peer of trust domain {}, found {found}", listed(expected))]
    OtherTrustDomain {
        /// The mesh's own domain and its aliases.
        expected: Arc<[TrustDomain]>,
        /// Who the peer is.
        found: SpiffeId,
    },
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// Verifies servers, for a client that knows which identities its destination may have.
pub(crate) struct ServerVerifier {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) expected: Arc<[SpiffeId]>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, self.algorithms.all)?;
        let found = verifiable_identity(end_entity).map_err(PeerError::from)?;
        if self.expected.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(PeerError::WrongIdentity { expected: Arc::clone(&self.expected), found }.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Required,
    Optional,
}

/// Verifies clients, for a server that serves every workload of its trust domains.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    /// rustls's own, for the chain.
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) domains: Arc<[TrustDomain]>,
    pub(crate) proof: Proof,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.proof == Proof::Required
    }

    /// None: a peer has one certificate, and a list of roots would only make the handshake longer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let found = verifiable_identity(end_entity).map_err(PeerError::from)?;
        if self.domains.iter().any(|domain| domain.as_str() == found.trust_domain()) {
            return Ok(verified);
        }
        Err(PeerError::OtherTrustDomain { expected: Arc::clone(&self.domains), found }.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn no_tls12() -> Error {
    PeerIncompatible::ServerDoesNotSupportTls12Or13.into()
}

fn listed(names: &[impl fmt::Display]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
