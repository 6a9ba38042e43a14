//! Issuers that others made, with OpenSSL: `root` signed `mid` and `rsa`, `mid` signed `sub`; `narrow`
//! is `mid` with a path length of 0, below which `sub` can't stand.

use super::*;

const ROOT: &str = include_str!("brought/root.crt");
const MID: &str = include_str!("brought/mid.crt");
const MID_KEY: &str = include_str!("brought/mid.key");
const NARROW: &str = include_str!("brought/narrow.crt");
const SUB: &str = include_str!("brought/sub.crt");
const SUB_KEY: &str = include_str!("brought/sub.key");
const RSA: &str = include_str!("brought/rsa.crt");
const RSA_KEY: &str = include_str!("brought/rsa.key");

fn brought(certificates: &[&str], key: &str, anchors: &[&str]) -> Result<Authority, AuthorityError> {
    let pem = IssuerPem { certificate: certificates.concat(), key: key.to_owned(), anchors: anchors.concat() };
    Authority::from_issuer(&pem, now())
}

fn refused(certificates: &[&str], key: &str, anchors: &[&str]) -> String {
    brought(certificates, key, anchors).unwrap_err().to_string()
}

#[test]
fn a_brought_issuer_signs_below_whatever_stands_above_it() {
    let other = authority().to_pem().unwrap().root_certificate.clone();
    let cases: [(&[&str], &str, &[&str], usize); 5] = [
        (&[MID], MID_KEY, &[ROOT], 3),
        (&[MID, ROOT], MID_KEY, &[&other, ROOT], 3),
        (&[SUB, MID], SUB_KEY, &[ROOT], 4),
        (&[SUB], SUB_KEY, &[MID], 3),
        (&[RSA], RSA_KEY, &[ROOT], 3),
    ];
    for (certificates, key, anchors, length) in cases {
        let authority = brought(certificates, key, anchors).unwrap();
        let leaf = sign(&authority, &csr(&id("checkout"))).unwrap();
        assert_eq!(leaf.chain_pem.len(), length);
        let trust = Trust { anchors: authority.anchors(), ..Trust::default() };
        tls::accepts(&leaf.chain_pem, &trust, now()).unwrap();
        assert_eq!(authority.anchors().len(), anchors.len());
        assert!(authority.to_pem().is_none(), "the root's key is elsewhere");
    }
}

#[test]
fn an_issuer_that_is_trusted_itself_needs_nobody_above() {
    let root = authority().to_pem().unwrap();
    let authority = brought(&[&root.root_certificate], &root.root_key, &[&root.root_certificate]).unwrap();
    let leaf = sign(&authority, &csr(&id("checkout"))).unwrap();
    assert_eq!(leaf.chain_pem.len(), 2);
    assert_eq!(authority.root(), authority.issuer());
}

#[test]
fn what_doesn_t_fit_is_named() {
    let leaf = sign(&brought(&[MID], MID_KEY, &[ROOT]).unwrap(), &csr(&id("checkout"))).unwrap().chain_pem[0].clone();
    let foreign = authority().to_pem().unwrap();
    assert_eq!(
        refused(&[MID], SUB_KEY, &[ROOT]),
        "issuer key: expected the private key of the issuer certificate, found another one"
    );
    assert_eq!(refused(&[MID], "", &[ROOT]), "issuer key: expected a private key in PEM, found text that isn't one");
    assert_eq!(
        refused(&[MID], MID_KEY, &[&foreign.root_certificate]),
        "issuer certificate: expected the signature of the root, found one of \"CN=root\" that doesn't verify"
    );
    assert_eq!(
        refused(&[SUB], SUB_KEY, &[ROOT]),
        "issuer certificate: expected the signature of the root, found one of \"CN=mid\" that doesn't verify"
    );
    assert_eq!(
        refused(&[&leaf], MID_KEY, &[ROOT]),
        "issuer certificate: expected one that may sign others, found one that may not"
    );
    assert_eq!(refused(&[MID], MID_KEY, &[""]), "root certificate: expected one certificate in PEM, found no section");
    assert!(refused(&[SUB, NARROW], SUB_KEY, &[ROOT]).contains("found that they refuse them: "));
    brought(&[MID], MID_KEY, &[ROOT; 16]).unwrap();
    assert_eq!(
        refused(&[MID], MID_KEY, &[ROOT; 17]),
        "root certificate: expected one certificate in PEM, found 17 of them"
    );
}

#[test]
fn an_issuer_out_of_its_dates_is_refused() {
    let pem = authority().to_pem().unwrap();
    let (certificate, anchors) = (pem.issuer_certificate.clone(), pem.root_certificate.clone());
    let issuer = IssuerPem { certificate, key: pem.issuer_key.clone(), anchors };
    Authority::from_issuer(&issuer, now()).unwrap();
    let late = Authority::from_issuer(&issuer, now() + AuthorityLifetimes::default().issuer + HOUR);
    assert!(matches!(late, Err(AuthorityError::Expired { role, .. }) if role == "issuer"));
    let early = Authority::from_issuer(&issuer, now() - HOUR);
    assert!(matches!(early, Err(AuthorityError::NotYetValid { role, .. }) if role == "issuer"));
    assert!(!format!("{issuer:?}").contains("PRIVATE"));
}
