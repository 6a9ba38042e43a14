//! Of which kind a certificate's key is, and whether the mesh can verify what it signed.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

/// The kind of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on a curve that proxies know: `P-256`, `P-384` or `P-521`.
    Ecdsa(&'static str),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// Another algorithm or curve, by its object identifier.
    Other(String),
}

impl KeyKind {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let key = certificate.public_key();
        if let Ok(PublicKey::RSA(key)) = key.parsed() {
            return Self::Rsa(key.key_size());
        }
        // Of an elliptic curve the parameters tell which one (RFC 5480, section 2.1.1).
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let identifier = curve.unwrap_or_else(|| key.algorithm.algorithm.clone()).to_id_string();
        match (identifier.as_str(), CURVES.iter().find(|(known, _)| *known == identifier)) {
            (_, Some((_, name))) => Self::Ecdsa(name),
            (ED25519, None) => Self::Ed25519,
            (_, None) => Self::Other(identifier),
        }
    }

    /// Whether every proxy can verify what a key of this kind has signed.
    pub fn is_supported(&self) -> bool {
        match self {
            Self::Ecdsa(_) | Self::Ed25519 => true,
            Self::Rsa(bits) => (2_048..=8_192).contains(bits),
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA with {bits} bits"),
            Self::Other(identifier) => write!(f, "the algorithm {identifier}"),
        }
    }
}

const CURVES: [(&str, &str); 3] =
    [("1.2.840.10045.3.1.7", "P-256"), ("1.3.132.0.34", "P-384"), ("1.3.132.0.35", "P-521")];
/// Its object identifier (RFC 8410, section 3).
const ED25519: &str = "1.3.101.112";

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;
    use crate::Certificate;

    #[test]
    fn kinds_are_told_apart() {
        let kinds = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].map(|algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
            Certificate::parse(certificate.der()).unwrap().key
        });
        assert_eq!(kinds, [KeyKind::Ecdsa("P-256"), KeyKind::Ecdsa("P-384"), KeyKind::Ed25519]);
        assert!(kinds.iter().all(KeyKind::is_supported));
    }

    #[test]
    fn keys_that_are_weak_or_unknown_are_not_supported() {
        for kind in [KeyKind::Rsa(1_024), KeyKind::Other("1.2.3".to_owned())] {
            assert!(!kind.is_supported(), "{kind}");
        }
        assert!(KeyKind::Rsa(4_096).is_supported());
    }
}
