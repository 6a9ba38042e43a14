//! Certificates of others: two readers must not see two names, and a bad anchor vouches for nobody.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use weft_identity::{Certificate, MeshTls, peer_identity};
use weft_mesh::record::Trust;

use crate::support::authority::CREDENTIAL;

/// `Certificate::parse`, `peer_identity` and an anchor of a trust bundle, all on the same DER.
///
/// # Panics
/// When the fast and the strict reader name different workloads.
pub fn identity_certificate(data: &[u8]) {
    let der = CertificateDer::from(data);
    let (strict, fast) = (Certificate::parse(data), peer_identity(std::slice::from_ref(&der)));
    if let (Ok(strict), Ok(fast)) = (&strict, &fast)
        && let [uri] = strict.uris.as_slice()
    {
        assert_eq!(fast.as_str(), uri);
    }
    if let Ok(certificate) = strict {
        assert!(!certificate.serial.contains(char::is_whitespace));
    }
    let trust = Trust { anchors: vec![data.to_vec()], ..Trust::default() };
    let used = MeshTls::new(Arc::clone(&CREDENTIAL), &trust).is_ok();
    assert!(!used || !data.is_empty(), "nothing became an anchor");
}
