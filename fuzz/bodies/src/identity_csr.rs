//! Certificate requests: whatever is asked, a leaf says who its owner was found to be.

use pem::Pem;
use rustls_pki_types::CertificateDer;
use weft_identity::{Certificate, peer_identity};

use crate::support::authority::{AUTHORITY, HOUR, id, now};

/// `Authority::sign` on the data as a text, and as the DER of a request.
///
/// # Panics
/// When what was signed names anybody else, may sign others, or lives longer than it was told.
pub fn identity_csr(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check(text);
    }
    check(&pem::encode(&Pem::new("CERTIFICATE REQUEST", data)));
}

fn check(request: &str) {
    let Ok(signed) = AUTHORITY.sign(request, &id(), HOUR, now()) else { return };
    let leaf = pem::parse(&signed.chain_pem[0]).expect("what was signed is PEM").into_contents();
    let read = Certificate::parse(&leaf).expect("what was signed is a certificate");
    assert_eq!((read.uris, read.authority, read.subject.as_str()), (vec![id().to_string()], false, ""));
    assert!(read.not_before <= now() && read.not_after <= now() + HOUR);
    assert_eq!(peer_identity(&[CertificateDer::from(leaf)]), Ok(id()));
}
