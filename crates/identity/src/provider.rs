//! The one place that names the cryptography of the mesh.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group, sign};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::SigningKey;

/// The provider of all TLS of the mesh: aws-lc-rs, TLS 1.3 only, AES-GCM only, the post-quantum
/// hybrid group first.
///
/// AES-128 with SHA-256 comes first: it is the cheaper one for each byte and for each handshake.
/// The algorithms by which certificates may be signed are aws-lc-rs's own list, since an anchor
/// may have been made elsewhere.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
            ..default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// A leaf's private key (PKCS #8, ECDSA) as rustls signs with it. The bytes stay the caller's to wipe.
pub(crate) fn signing_key(pkcs8: &[u8]) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(pkcs8).into())
}
