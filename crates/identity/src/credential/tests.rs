use super::*;
use crate::authority::{Authority, SignedLeaf};
use crate::fixtures::{HOUR, authority, forged, id, leaf_params, now};

fn signed(authority: &Authority, key: &LeafKey) -> SignedLeaf {
    authority.sign(&key.csr_pem(&id("web")).unwrap(), &id("web"), HOUR, now()).unwrap()
}

#[test]
fn a_credential_tells_whose_it_is_and_how_long() {
    let key = LeafKey::generate().unwrap();
    let leaf = signed(&authority(), &key);
    let credential = Credential::new(key, &leaf.chain_pem, now()).unwrap();
    assert_eq!(credential.id(), &id("web"));
    assert_eq!(credential.not_after(), now() + HOUR);
    assert_eq!(credential.serial().len(), 16 * 3 - 1);
    assert_eq!(credential.chain().len(), 3);
    assert_eq!(credential.certified().cert.len(), 2, "the root is not shown");
    credential.certified().keys_match().unwrap();
    let at = credential.renew_at(0.5).duration_since(now()).unwrap();
    assert!(at > HOUR / 2 && at < HOUR, "{at:?}");
    assert!(!format!("{credential:?}").contains("certified"));
}

#[test]
fn one_text_may_hold_the_whole_chain() {
    let key = LeafKey::generate().unwrap();
    let chain = signed(&authority(), &key).chain_pem.concat();
    assert_eq!(Credential::new(key, &[chain], now()).unwrap().chain().len(), 3);
}

#[test]
fn a_chain_that_doesn_t_fit_is_refused() {
    let authority = authority();
    let try_with = |change: &dyn Fn(Vec<String>) -> Vec<String>| {
        let key = LeafKey::generate().unwrap();
        let chain = change(signed(&authority, &key).chain_pem);
        Credential::new(key, &chain, now()).unwrap_err()
    };
    let other = signed(&authority, &LeafKey::generate().unwrap()).chain_pem;
    assert_eq!(try_with(&|_| other.clone()), CredentialError::KeyMismatch);
    assert_eq!(try_with(&|_| vec![]), CredentialError::Empty);
    assert_eq!(try_with(&|_| vec![String::new()]), CredentialError::Pem("no section".to_owned()));
    assert_eq!(try_with(&|c| vec![c[0].clone(), c[2].clone()]), CredentialError::Order { place: 0, next: 1 });
    assert!(matches!(try_with(&|c| vec![c[0].clone(), "x".repeat(9), c[0][..99].to_owned()]), CredentialError::Pem(_)));
    assert!(matches!(try_with(&|_| vec![authority.to_pem().unwrap().root_key.clone()]), CredentialError::Pem(_)));
    assert!(matches!(try_with(&|c| vec![c.concat().repeat(9)]), CredentialError::Pem(_)));
}

#[test]
fn a_leaf_out_of_its_dates_is_refused() {
    let authority = authority();
    let at = |time| {
        let key = LeafKey::generate().unwrap();
        let leaf = signed(&authority, &key);
        Credential::new(key, &leaf.chain_pem, time)
    };
    at(now() + HOUR).unwrap();
    assert!(matches!(at(now() + HOUR + HOUR), Err(CredentialError::Expired { .. })));
    assert!(matches!(at(now() - HOUR), Err(CredentialError::NotYetValid { .. })));
}

#[test]
fn a_leaf_has_one_name_and_it_is_a_workload_s() {
    let authority = authority();
    let try_with = |uris: &[&str]| {
        let (chain, key) = forged(&authority, &leaf_params(uris));
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", chain[0].as_ref()));
        Credential::new(LeafKey(key), &[pem], now()).map(|credential| credential.id().clone())
    };
    let (web, api) = (id("web"), id("api"));
    assert_eq!(try_with(&[web.as_str()]), Ok(web.clone()));
    assert_eq!(try_with(&[]), Err(IdentityError::Uris(0).into()));
    assert_eq!(try_with(&[web.as_str(), api.as_str()]), Err(IdentityError::Uris(2).into()));
    assert_eq!(try_with(&[web.as_str(), "https://example.test"]), Err(IdentityError::Uris(2).into()));
    for uri in ["https://example.test", "spiffe://cluster.local", "spiffe://cluster.local/ns/a/sa/"] {
        assert!(matches!(try_with(&[uri]), Err(CredentialError::Identity(IdentityError::Name(_)))), "{uri}");
    }
}

#[test]
fn a_certificate_that_may_sign_is_no_workload_s() {
    let authority = authority();
    let mut params = leaf_params(&[id("web").as_str()]);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyCertSign];
    let (chain, _) = forged(&authority, &params);
    for der in &chain {
        assert_eq!(certificate::verifiable_identity(der), Err(IdentityError::Authority));
    }
    assert_eq!(certificate::peer_identity(&[]), Err(IdentityError::NoCertificate));
}

#[test]
fn damaged_certificates_never_panic() {
    let authority = authority();
    let (chain, _) = forged(&authority, &leaf_params(&[id("web").as_str()]));
    for end in 0..chain[0].len() {
        let cut = CertificateDer::from(&chain[0][..end]);
        assert!(matches!(certificate::verifiable_identity(&cut), Err(IdentityError::Malformed(_))));
        assert!(matches!(certificate::peer_identity(&[cut]), Err(IdentityError::Malformed(_))));
    }
    for place in 0..chain[0].len() {
        for bit in [1, 0x80] {
            let mut bad = chain[0].to_vec();
            bad[place] ^= bit;
            // May be read or not (the signature is another's work), but what the strict reader takes the fast one
            // must read alike.
            let bad = CertificateDer::from(bad);
            let fast = certificate::peer_identity(std::slice::from_ref(&bad));
            if let (Ok(strict), Ok(fast)) = (certificate::verifiable_identity(&bad), fast) {
                assert_eq!(strict, fast, "octet {place}");
            }
        }
    }
}

#[test]
fn a_key_made_elsewhere_is_read_if_it_is_of_the_one_kind() {
    let made = KeyPair::generate().unwrap();
    let key = LeafKey::from_pem(&made.serialize_pem()).unwrap();
    let leaf = signed(&authority(), &key);
    Credential::new(key, &leaf.chain_pem, now()).unwrap();
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for text in [other.serialize_pem(), String::new(), "-----BEGIN PRIVATE KEY-----\n".to_owned()] {
        assert!(matches!(LeafKey::from_pem(&text), Err(CredentialError::KeyPem(_))), "{text}");
    }
}
