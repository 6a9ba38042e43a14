//! A workload's own key, and the certificate that goes with it.
//!
//! The private key never leaves this module save into rustls: it can't be printed, cloned or written.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroize;

use crate::certificate::{self, Certificate, IdentityError, Malformed};
use crate::clock;
use crate::provider::signing_key;
use crate::renewal::renew_at;
use weft_mesh::SpiffeId;

/// A new ECDSA P-256 private key, wiped from memory when dropped.
pub struct LeafKey(KeyPair);

impl LeafKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`CredentialError::Key`], when the cryptographic library or its randomness fails.
    pub fn generate() -> Result<Self, CredentialError> {
        KeyPair::generate().map(Self).map_err(|error| CredentialError::Key(error.to_string()))
    }

    /// Reads a key that was made elsewhere: PEM, one section `PRIVATE KEY` (PKCS #8).
    ///
    /// For proxies that run from a file, in tests and races: a workload of a mesh makes its key itself.
    ///
    /// # Errors
    /// [`CredentialError::KeyPem`], when the text is no such key, or not of ECDSA P-256.
    pub fn from_pem(text: &str) -> Result<Self, CredentialError> {
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256);
        key.map(Self).map_err(|error| CredentialError::KeyPem(error.to_string()))
    }

    /// A certificate signing request for this key, PEM: empty subject, `id` as its only name.
    ///
    /// # Errors
    /// [`CredentialError::Key`], when the cryptographic library fails.
    pub fn csr_pem(&self, id: &SpiffeId) -> Result<String, CredentialError> {
        let request = || {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
            params.serialize_request(&self.0)?.pem()
        };
        request().map_err(|error: rcgen::Error| CredentialError::Key(error.to_string()))
    }
}

impl Drop for LeafKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A key with its certificate chain: what a workload proves its identity with.
pub struct Credential {
    id: SpiffeId,
    chain: Vec<Certificate>,
    received_at: SystemTime,
    certified: Arc<CertifiedKey>,
}

impl Credential {
    /// Joins a key with the chain that an authority sent for it: leaf first, each signed by the next.
    ///
    /// A root at the end is not shown to peers, who have their own.
    ///
    /// # Errors
    /// [`CredentialError`], when the chain is broken, is for another key or names no workload, or when
    /// its leaf doesn't hold at `now`.
    pub fn new(key: LeafKey, chain_pem: &[String], now: SystemTime) -> Result<Self, CredentialError> {
        let ders = certificates(chain_pem)?;
        let parsed = ders.iter().map(|der| certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
        let leaf = parsed.first().ok_or(CredentialError::Empty)?;
        if leaf.public_key().raw != key.0.subject_public_key_info() {
            return Err(CredentialError::KeyMismatch);
        }
        let id = certificate::leaf_identity(leaf)?;
        let broken = parsed.windows(2).position(|pair| pair[0].verify_signature(Some(pair[1].public_key())).is_err());
        if let Some(place) = broken {
            return Err(CredentialError::Order { place, next: place + 1 });
        }
        let chain: Vec<Certificate> = parsed.iter().map(Certificate::of).collect();
        check_dates(&chain[0], now)?;
        let shown = chain.iter().take_while(|certificate| certificate.subject != certificate.issuer).count();
        let shown = ders[..shown.max(1)].to_vec();
        let signing = signing_key(key.0.serialized_der()).map_err(|error| CredentialError::Key(error.to_string()))?;
        let certified = Arc::new(CertifiedKey::new(shown, signing));
        Ok(Self { id, chain, received_at: now, certified })
    }

    /// The workload's identity.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// From when on the leaf holds.
    pub fn not_before(&self) -> SystemTime {
        self.leaf().not_before
    }

    /// The last second at which the leaf holds.
    pub fn not_after(&self) -> SystemTime {
        self.leaf().not_after
    }

    /// The leaf's serial number in hexadecimal, with colons between the octets.
    pub fn serial(&self) -> &str {
        &self.leaf().serial
    }

    /// What the certificates say, leaf first, as they were received.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// When to ask for the next one; `jitter` is a random number from 0 to 1 (see [`renew_at`]).
    pub fn renew_at(&self, jitter: f64) -> SystemTime {
        renew_at(self.received_at, self.not_after(), jitter)
    }

    /// What rustls shows to peers.
    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    fn leaf(&self) -> &Certificate {
        // `new` refuses an empty chain.
        &self.chain[0]
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Why a key and a chain make no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The cryptographic library failed, or there is no randomness.
    #[error("expected to make or use a private key, found {0}")]
    Key(String),
    /// A key that was made elsewhere is of no use.
    #[error("expected a private key of ECDSA P-256 in PEM (PKCS #8), found {0}")]
    KeyPem(String),
    /// An entry of the chain is no PEM of certificates.
    #[error("expected a certificate chain in PEM, found {0}")]
    Pem(String),
    /// The chain is empty.
    #[error("expected a certificate chain, found no certificate")]
    Empty,
    /// A certificate of the chain is damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The leaf was made for another key.
    #[error("expected a certificate for our own key, found one for another key")]
    KeyMismatch,
    /// The leaf names no workload.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate isn't signed by the one after it (places count from 0, the leaf).
    #[error("expected certificate {place} of the chain to be signed by certificate {next}, found another signature")]
    Order {
        /// The certificate whose signature doesn't verify.
        place: usize,
        /// The one that should have signed it.
        next: usize,
    },
    /// The leaf has expired.
    #[error("expected a certificate that still holds, found one that expired at {not_after}")]
    Expired {
        /// When, RFC 3339.
        not_after: String,
    },
    /// The leaf doesn't hold yet: a clock is wrong.
    #[error("expected a certificate that holds by now, found one that holds from {not_before}")]
    NotYetValid {
        /// From when on, RFC 3339.
        not_before: String,
    },
}

/// Every certificate of the texts, in order; a text may hold more than one.
fn certificates(texts: &[String]) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let mut ders = Vec::with_capacity(texts.len());
    for text in texts {
        ders.extend(certificate::ders(text).map_err(CredentialError::Pem)?);
        if ders.len() > MAX_CHAIN {
            return Err(CredentialError::Pem(format!("more than {MAX_CHAIN} certificates")));
        }
    }
    Ok(ders)
}

fn check_dates(leaf: &Certificate, now: SystemTime) -> Result<(), CredentialError> {
    if now < leaf.not_before {
        return Err(CredentialError::NotYetValid { not_before: clock::text(leaf.not_before) });
    }
    if now > leaf.not_after {
        return Err(CredentialError::Expired { not_after: clock::text(leaf.not_after) });
    }
    Ok(())
}

/// More than any chain in use; a bound, since each link costs a signature to check.
const MAX_CHAIN: usize = 16;

#[cfg(test)]
mod tests;
