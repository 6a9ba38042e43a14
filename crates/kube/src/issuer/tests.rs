use super::*;
use std::time::Duration;
use weft_identity::{AuthorityLifetimes, AuthorityPem};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn pem(domain: &str) -> AuthorityPem {
    let made = Authority::generate(&domain.parse().unwrap(), SystemTime::now(), AuthorityLifetimes::default());
    made.unwrap().to_pem().unwrap()
}

fn written(pem: &AuthorityPem) -> Written {
    let data = [("tls.crt", &pem.issuer_certificate), ("tls.key", &pem.issuer_key), ("ca.crt", &pem.root_certificate)];
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
    Written { issuer: Ok(IssuerSecret::read(&data).unwrap()), anchors: Some(pem.root_certificate.clone()) }
}

fn settled(written: &Written) -> Result<Settled, IssuerError> {
    settle(written, &TrustDomain::default(), SystemTime::now())
}

fn reason(written: &Written) -> String {
    settled(written).unwrap_err().to_string()
}

#[test]
fn what_weft_writes_can_sign() {
    let pem = pem("cluster.local");
    let settled = settled(&written(&pem)).unwrap();
    // The same root twice is one anchor.
    assert_eq!(settled.trust.anchors.len(), 1);
}

#[test]
fn anchors_may_stand_in_either_place() {
    let pem = pem("cluster.local");
    let mut only_config = written(&pem);
    only_config.issuer.as_mut().ok().unwrap().root.clear();
    assert!(settled(&only_config).is_ok());
    let only_secret = Written { anchors: None, ..written(&pem) };
    assert!(settled(&only_secret).is_ok());
    only_config.anchors = None;
    assert_eq!(reason(&only_config), IssuerError::NoAnchor.to_string());
}

#[test]
fn another_root_beside_the_issuers_is_trusted_too() {
    let (own, other) = (pem("cluster.local"), pem("cluster.local"));
    let mut written = written(&own);
    written.anchors = Some(format!("{}{}", other.root_certificate, own.root_certificate));
    assert_eq!(settled(&written).unwrap().trust.anchors.len(), 2);
}

#[test]
fn what_can_not_sign_is_told() {
    let (own, other) = (pem("cluster.local"), pem("cluster.local"));
    assert_eq!(
        reason(&Written { issuer: Err(IssuerError::Absent), anchors: None }),
        "expected the Secret weft-issuer, found none"
    );
    let with = |change: &dyn Fn(&mut IssuerSecret)| {
        let mut written = written(&own);
        change(written.issuer.as_mut().ok().unwrap());
        reason(&written)
    };
    assert!(with(&|issuer| *issuer.key = other.issuer_key.clone()).contains("another one"));
    assert!(with(&|issuer| *issuer.key = "none".into()).contains("expected a private key"));
    assert!(with(&|issuer| issuer.chain = "none".into()).contains("expected"));
    // An issuer of another root than all that are trusted.
    let foreign = Written { anchors: Some(other.root_certificate.clone()), ..written(&own) };
    let mut foreign = foreign;
    foreign.issuer.as_mut().ok().unwrap().root.clear();
    assert!(settled(&foreign).is_err());
    let late = SystemTime::now() + 400 * DAY;
    let expired = settle(&written(&own), &TrustDomain::default(), late).unwrap_err().to_string();
    assert!(expired.contains("expired"), "{expired}");
    let domain = reason(&written(&pem("example.org")));
    assert!(domain.contains("spiffe://cluster.local") && domain.contains("spiffe://example.org"), "{domain}");
}

#[test]
fn a_secret_without_its_keys_says_which_is_missing() {
    let data = [("tls.crt".to_owned(), b"x".to_vec()), ("tls.key".to_owned(), Vec::new())].into();
    assert_eq!(IssuerSecret::read(&data).err(), Some(IssuerError::Missing("tls.key")));
    let data = [("tls.crt".to_owned(), vec![0xFF]), ("tls.key".to_owned(), b"x".to_vec())].into();
    assert_eq!(IssuerSecret::read(&data).err(), Some(IssuerError::Missing("tls.crt")));
}

#[test]
fn a_root_is_found_in_a_bundle_however_it_is_written() {
    let (own, other) = (pem("cluster.local"), pem("cluster.local"));
    let both = format!("# ours\n{}{}", other.root_certificate, own.root_certificate.replace('\n', "\r\n"));
    assert!(holds(&both, &own.root_certificate) && holds(&both, &other.root_certificate));
    assert!(!holds(&other.root_certificate, &own.root_certificate));
    assert!(!holds(&both, "") && !holds("", &own.root_certificate));
    let authority = settled(&written(&own)).unwrap().authority;
    assert!(holds(&bundle(authority.anchors()), &own.root_certificate));
}
