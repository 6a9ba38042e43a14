//! When an issuer is due to be renewed, and whether that is Weft's to do. Pure: time is passed in.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weft_identity::{Authority, Certificate, IssuerPem, issuer_due};

use super::IssuerSecret;

/// Whether an issuer has lived two thirds of its life, as [`issuer_due`] has it; an expired one has. One that
/// can't be read is not renewed: somebody must look at it.
pub(super) fn is_due(issuer: &IssuerSecret, now: SystemTime) -> bool {
    certificate(issuer).is_some_and(|issuer| issuer_due(&issuer) <= now)
}

/// Whether this root, PEM, has signed the issuer itself: so does Weft. An issuer that is signed by another, or
/// with something between, is renewed by whoever made it.
pub(super) fn is_signed_by(issuer: &IssuerSecret, root: &str) -> bool {
    let Some(own) = certificate(issuer) else { return false };
    let pem = IssuerPem { certificate: issuer.chain.clone(), key: issuer.key.to_string(), anchors: root.to_owned() };
    // It could sign when it was new, whatever its age is now.
    issuer.chain.matches("-----BEGIN ").count() == 1 && Authority::from_issuer(&pem, own.not_before).is_ok()
}

/// The issuer's own certificate, which stands first.
fn certificate(issuer: &IssuerSecret) -> Option<Certificate> {
    let der = CertificateDer::pem_slice_iter(issuer.chain.as_bytes()).next()?.ok()?;
    Certificate::parse(&der).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_identity::{AuthorityLifetimes, AuthorityPem};
    use zeroize::Zeroizing;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn made(now: SystemTime) -> AuthorityPem {
        let lifetimes = AuthorityLifetimes::default();
        Authority::generate(&"cluster.local".parse().unwrap(), now, lifetimes).unwrap().to_pem().unwrap()
    }

    fn secret(pem: &AuthorityPem) -> IssuerSecret {
        let key = Zeroizing::new(pem.issuer_key.clone());
        IssuerSecret { chain: pem.issuer_certificate.clone(), key, root: pem.root_certificate.clone() }
    }

    #[test]
    fn a_years_issuer_is_due_after_eight_months_and_stays_so() {
        let now = SystemTime::now();
        let issuer = secret(&made(now));
        assert!(!is_due(&issuer, now) && !is_due(&issuer, now + 240 * DAY));
        assert!(is_due(&issuer, now + 245 * DAY) && is_due(&issuer, now + 400 * DAY));
        let broken = IssuerSecret { chain: "none".to_owned(), ..issuer };
        assert!(!is_due(&broken, now + 400 * DAY));
    }

    #[test]
    fn only_what_the_root_itself_signed_is_its_own_also_when_it_has_expired() {
        let (own, other) = (made(SystemTime::now() - 500 * DAY), made(SystemTime::now()));
        assert!(is_signed_by(&secret(&own), &own.root_certificate));
        assert!(!is_signed_by(&secret(&own), &other.root_certificate));
        let mut longer = secret(&own);
        longer.chain = format!("{}{}", longer.chain, own.root_certificate);
        assert!(!is_signed_by(&longer, &own.root_certificate));
        let stolen = IssuerSecret { key: Zeroizing::new(other.issuer_key.clone()), ..secret(&own) };
        assert!(!is_signed_by(&stolen, &own.root_certificate));
    }
}
