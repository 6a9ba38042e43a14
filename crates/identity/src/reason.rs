//! Why a handshake failed, in a few stable words for logs, metrics and headers.
//!
//! The full story, with both names, is the error's own text; a reason is what can be counted.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::certificate::IdentityError;
use crate::verify::PeerError;

/// Why a handshake failed. Those that begin with `Peer` were told by the other side in an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A certificate of the peer's chain has expired.
    Expired,
    /// A certificate of the peer's chain doesn't hold yet.
    NotYetValid,
    /// No anchor vouches for the peer's chain.
    UnknownIssuer,
    /// The peer is somebody else than was expected.
    WrongIdentity,
    /// The peer belongs to another mesh.
    OtherTrustDomain,
    /// The peer's certificate names no workload, or more than one.
    NoIdentity,
    /// The peer showed no certificate.
    NoCertificate,
    /// A certificate was used for what it isn't for, such as a leaf that signs.
    WrongUse,
    /// A certificate or a signature is damaged or of a kind not known.
    BadCertificate,
    /// The peer speaks no TLS 1.3, or no suite or group of ours.
    Version,
    /// The two sides share no application protocol.
    Protocol,
    /// What arrived is no TLS.
    NotTls,
    /// The peer says that our certificate isn't valid now.
    PeerExpired,
    /// The peer says that it doesn't know who vouches for us.
    PeerUnknownIssuer,
    /// The peer says that it refuses our certificate; for Weft's proxies, that our identity isn't welcome.
    PeerRefusedIdentity,
    /// The peer says that it wants a certificate.
    PeerWantsCertificate,
    /// The peer says that we share no version, suite or protocol.
    PeerIncompatible,
    /// The peer ended the handshake with another alert.
    PeerRefused,
    /// Anything else; the error's text says what.
    Other,
}

impl Reason {
    /// The reason in words, which never change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::UnknownIssuer => "unknown issuer",
            Self::WrongIdentity => "wrong identity",
            Self::OtherTrustDomain => "other trust domain",
            Self::NoIdentity => "no identity",
            Self::NoCertificate => "no certificate",
            Self::WrongUse => "wrong use",
            Self::BadCertificate => "bad certificate",
            Self::Version => "tls version",
            Self::Protocol => "no common protocol",
            Self::NotTls => "not tls",
            Self::PeerExpired => "peer: expired",
            Self::PeerUnknownIssuer => "peer: unknown issuer",
            Self::PeerRefusedIdentity => "peer: identity refused",
            Self::PeerWantsCertificate => "peer: no certificate",
            Self::PeerIncompatible => "peer: incompatible",
            Self::PeerRefused => "peer: refused",
            Self::Other => "tls",
        }
    }
}

impl From<&Error> for Reason {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::NoApplicationProtocol => Self::Protocol,
            Error::PeerIncompatible(incompatible) => of_incompatible(incompatible),
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Self::NotTls
            }
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed handshake in one sentence, naming both sides where identity was at stake.
///
/// rustls's own text shows what it didn't find itself only in Rust's notation.
pub fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => format!("invalid peer certificate: {}", other.0),
        _ => error.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> Reason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Reason::NotYetValid,
        CertificateError::UnknownIssuer => Reason::UnknownIssuer,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Reason::WrongUse,
        CertificateError::Other(other) => of_other(other.0.as_ref()),
        _ => Reason::BadCertificate,
    }
}

/// Our own refusals, and those of webpki that rustls has no name for.
fn of_other(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Reason {
    use webpki::Error as Chain;
    if let Some(error) = error.downcast_ref::<PeerError>() {
        return match error {
            PeerError::WrongIdentity { .. } => Reason::WrongIdentity,
            PeerError::OtherTrustDomain { .. } => Reason::OtherTrustDomain,
            PeerError::Identity(IdentityError::NoCertificate) => Reason::NoCertificate,
            PeerError::Identity(IdentityError::Authority) => Reason::WrongUse,
            PeerError::Identity(IdentityError::Malformed(_)) => Reason::BadCertificate,
            PeerError::Identity(_) => Reason::NoIdentity,
        };
    }
    match error.downcast_ref::<Chain>() {
        Some(Chain::EndEntityUsedAsCa | Chain::CaUsedAsEndEntity | Chain::PathLenConstraintViolated) => {
            Reason::WrongUse
        }
        _ => Reason::BadCertificate,
    }
}

fn of_alert(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::CertificateExpired => Reason::PeerExpired,
        AlertDescription::UnknownCA => Reason::PeerUnknownIssuer,
        AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => Reason::PeerRefusedIdentity,
        AlertDescription::CertificateRequired => Reason::PeerWantsCertificate,
        AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol
        | AlertDescription::HandshakeFailure => Reason::PeerIncompatible,
        _ => Reason::PeerRefused,
    }
}

fn of_incompatible(incompatible: &PeerIncompatible) -> Reason {
    match incompatible {
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => Reason::BadCertificate,
        _ => Reason::Version,
    }
}
