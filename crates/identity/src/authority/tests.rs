use rcgen::{KeyPair, PublicKeyData, SanType};
use x509_parser::extensions::GeneralName;

use super::*;
use crate::credential::LeafKey;
use crate::fixtures::{HOUR, authority, id, now};
use crate::request::RequestError;

mod brought;
mod issued;

fn csr(id: &SpiffeId) -> String {
    LeafKey::generate().unwrap().csr_pem(id).unwrap()
}

/// A request made with a key and with names of the test's choice.
fn csr_of(key: &KeyPair, names: Vec<SanType>) -> String {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn der(pem: &str) -> Vec<u8> {
    pem::parse(pem).unwrap().into_contents()
}

fn sign(authority: &Authority, csr: &str) -> Result<SignedLeaf, AuthorityError> {
    authority.sign(csr, &id("checkout"), HOUR, now())
}

#[test]
fn a_leaf_says_what_an_svid_must() {
    let leaf = sign(&authority(), &csr(&id("checkout"))).unwrap();
    let der = der(&leaf.chain_pem[0]);
    let parsed = certificate::parse(&der).unwrap();
    assert_eq!(parsed.subject().iter().count(), 0);
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://cluster.local/ns/shop/sa/checkout")]);
    let usage = parsed.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone, found {}", usage.value);
    let purposes = parsed.extended_key_usage().unwrap().unwrap();
    assert!(purposes.value.server_auth && purposes.value.client_auth && !purposes.value.any);
    assert!(!parsed.basic_constraints().unwrap().unwrap().value.ca);
    assert_eq!(parsed.raw_serial().len(), 16);
    assert!(parsed.raw_serial()[0] & 0x80 == 0 && parsed.raw_serial()[0] != 0);

    let facts = Certificate::of(&parsed);
    assert_eq!(facts.not_before, now() - CLOCK_SKEW);
    assert_eq!((facts.not_after, leaf.not_after), (now() + HOUR, now() + HOUR));
    assert_eq!(certificate::leaf_identity(&parsed).unwrap(), id("checkout"));
}

#[test]
fn the_chain_is_leaf_issuer_root() {
    let authority = authority();
    let leaf = sign(&authority, &csr(&id("checkout"))).unwrap();
    let ders: Vec<_> = leaf.chain_pem.iter().map(|pem| der(pem)).collect();
    let chain: Vec<_> = ders.iter().map(|der| certificate::parse(der).unwrap()).collect();
    assert_eq!(chain.len(), 3);
    for (lower, upper) in [(0, 1), (1, 2), (2, 2)] {
        assert_eq!(chain[lower].issuer(), chain[upper].subject());
        chain[lower].verify_signature(Some(chain[upper].public_key())).unwrap();
    }
    let issuer = chain[1].basic_constraints().unwrap().unwrap().value;
    assert_eq!((issuer.ca, issuer.path_len_constraint), (true, Some(0)));
    assert_eq!(authority.anchors(), [ders[2].clone()]);
    assert_eq!(authority.issuer().not_after, now() + AuthorityLifetimes::default().issuer);
    assert_eq!(authority.root().uris, ["spiffe://cluster.local"]);
}

#[test]
fn two_leaves_have_two_serial_numbers() {
    let (authority, csr) = (authority(), csr(&id("checkout")));
    let serial = || Certificate::parse(&der(&sign(&authority, &csr).unwrap().chain_pem[0])).unwrap().serial;
    assert_ne!(serial(), serial());
}

#[test]
fn no_certificate_outlives_the_one_above() {
    let lifetimes = AuthorityLifetimes { root: 2 * HOUR, issuer: 5 * HOUR };
    let authority = Authority::generate(&TrustDomain::default(), now(), lifetimes).unwrap();
    assert_eq!(authority.issuer().not_after, now() + 2 * HOUR);
    let leaf = authority.sign(&csr(&id("a")), &id("a"), 24 * HOUR, now() + HOUR).unwrap();
    assert_eq!(leaf.not_after, now() + 2 * HOUR);
    let later = authority.sign(&csr(&id("a")), &id("a"), HOUR, now() + 3 * HOUR);
    assert!(matches!(later, Err(AuthorityError::Expired { .. })), "{later:?}");

    let lifetimes = AuthorityLifetimes { root: 5 * HOUR, issuer: 2 * HOUR };
    let authority = Authority::generate(&TrustDomain::default(), now(), lifetimes).unwrap();
    let leaf = authority.sign(&csr(&id("a")), &id("a"), 24 * HOUR, now() + HOUR).unwrap();
    assert_eq!(leaf.not_after, authority.issuer().not_after);
}

#[test]
fn names_in_a_request_are_ignored_but_another_uri_is_refused() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let dns = SanType::DnsName("admin.example".try_into().unwrap());
    let signed = sign(&authority, &csr_of(&key, vec![dns, uri(id("checkout").as_str())])).unwrap();
    let der = der(&signed.chain_pem[0]);
    let parsed = certificate::parse(&der).unwrap();
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    assert_eq!(parsed.public_key().raw, key.subject_public_key_info());

    sign(&authority, &csr_of(&key, vec![])).unwrap();
    for uris in [vec![uri("spiffe://cluster.local/ns/shop/sa/admin")], vec![uri(id("checkout").as_str()), uri("x:y")]] {
        let refused = sign(&authority, &csr_of(&key, uris));
        assert!(matches!(refused, Err(AuthorityError::Request(RequestError::Identity { .. }))), "{refused:?}");
    }
}

#[test]
fn requests_that_were_tampered_with_are_refused() {
    let authority = authority();
    let good = der(&csr(&id("checkout")));
    sign(&authority, &pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", good.clone()))).unwrap();
    // What lies between the signed part and the signature only names the algorithm and counts bits.
    assert_eq!((good[4], good[5]), (0x30, 0x81));
    let signed = 4..7 + usize::from(good[6]);
    let signature = signed.end + 15..good.len();
    for place in signed.chain(signature) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bad));
        assert!(sign(&authority, &pem).is_err(), "octet {place} of {} was flipped and nobody noticed", good.len());
    }
    for end in 0..good.len() {
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", &good[..end]));
        assert!(sign(&authority, &pem).is_err());
    }
    let trailing = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", [good.as_slice(), &[0]].concat()));
    assert!(matches!(sign(&authority, &trailing), Err(AuthorityError::Request(RequestError::Malformed(_)))));
}

#[test]
fn only_three_kinds_of_key_are_certified() {
    let authority = authority();
    let csr = |kind| csr_of(&KeyPair::generate_for(kind).unwrap(), vec![]);
    for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        sign(&authority, &csr(kind)).unwrap();
    }
    for kind in [&rcgen::PKCS_ECDSA_P521_SHA512, &rcgen::PKCS_RSA_SHA256] {
        let refused = sign(&authority, &csr(kind));
        assert!(matches!(refused, Err(AuthorityError::Request(RequestError::KeyKind(_)))), "{refused:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let authority = authority();
    let certificate = authority.to_pem().unwrap().root_certificate.clone();
    for text in ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----", &certificate, &"A".repeat(20_000)] {
        assert!(matches!(sign(&authority, text), Err(AuthorityError::Request(_))));
    }
    let padded = |length: usize| format!("{:\n<length$}", csr(&id("checkout")));
    sign(&authority, &padded(16 << 10)).unwrap();
    let long = sign(&authority, &padded((16 << 10) + 1));
    assert!(matches!(long, Err(AuthorityError::Request(RequestError::Length(16_385)))));
}

#[test]
fn other_trust_domains_and_senseless_lifetimes_are_refused() {
    let authority = authority();
    let other: SpiffeId = "spiffe://elsewhere.test/ns/shop/sa/checkout".parse().unwrap();
    let refused = authority.sign(&csr(&other), &other, HOUR, now()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "expected an identity of trust domain cluster.local, found spiffe://elsewhere.test/ns/shop/sa/checkout"
    );
    let sign = |lifetime| authority.sign(&csr(&id("a")), &id("a"), lifetime, now());
    assert_eq!(sign(Duration::from_millis(999)), Err(AuthorityError::Lifetime(Duration::from_millis(999))));
    assert!(matches!(sign(Duration::MAX), Err(AuthorityError::Date { .. })));
    let before = Authority::generate(&TrustDomain::default(), std::time::UNIX_EPOCH, AuthorityLifetimes::default());
    assert!(matches!(before, Err(AuthorityError::Date { .. })));
}

#[test]
fn an_authority_survives_its_text() {
    let first = authority();
    let second = Authority::from_pem(first.to_pem().unwrap()).unwrap();
    assert_eq!(second.anchors(), first.anchors());
    assert_eq!((second.root(), second.issuer()), (first.root(), first.issuer()));
    let leaf = sign(&second, &csr(&id("checkout"))).unwrap();
    assert_eq!(leaf.chain_pem[1], first.to_pem().unwrap().issuer_certificate);
    let (leaf, issuer) = (der(&leaf.chain_pem[0]), der(&leaf.chain_pem[1]));
    let issuer = certificate::parse(&issuer).unwrap();
    certificate::parse(&leaf).unwrap().verify_signature(Some(issuer.public_key())).unwrap();
}

#[test]
fn an_authority_out_of_its_dates_says_which_part() {
    let check = |now| Authority::from_pem(authority().to_pem().unwrap()).unwrap().check_dates(now);
    let year = AuthorityLifetimes::default().issuer;
    let expired = check(now() + year + HOUR).unwrap_err();
    assert_eq!(
        expired.to_string(),
        "issuer certificate: expected one that still holds, found one that expired at 2028-01-15T08:00:00Z"
    );
    assert!(matches!(check(now() - HOUR), Err(AuthorityError::NotYetValid { role, .. }) if role == "root"));
    assert!(matches!(check(now() + 11 * year), Err(AuthorityError::Expired { role, .. }) if role == "root"));
}

#[test]
fn parts_that_don_t_belong_together_are_refused() {
    let (mine, other) = (authority(), authority());
    let load = |change: &dyn Fn(&mut AuthorityPem)| {
        let mut pem = mine.to_pem().unwrap();
        change(&mut pem);
        Authority::from_pem(pem).unwrap_err()
    };
    let foreign = other.to_pem().unwrap();
    let unsigned = load(&|pem| {
        pem.issuer_certificate.clone_from(&foreign.issuer_certificate);
        pem.issuer_key.clone_from(&foreign.issuer_key);
    });
    assert!(matches!(unsigned, AuthorityError::Unsigned { .. }), "{unsigned}");
    let mismatch = load(&|pem| pem.root_key.clone_from(&foreign.root_key));
    assert!(matches!(&mismatch, AuthorityError::KeyMismatch { role } if role == "root"), "{mismatch}");
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = sign(&mine, &csr_of(&leaf_key, vec![])).unwrap();
    let no_authority = load(&|pem| {
        pem.issuer_certificate.clone_from(&leaf.chain_pem[0]);
        pem.issuer_key = leaf_key.serialize_pem();
    });
    assert!(matches!(&no_authority, AuthorityError::NoAuthority { role } if role == "issuer"), "{no_authority}");
    let key = load(&|pem| pem.issuer_key = "not a key".to_owned());
    assert_eq!(key.to_string(), "issuer key: expected a private key in PEM, found text that isn't one");
    let two = load(&|pem| pem.root_certificate.push_str(&foreign.root_certificate));
    assert_eq!(two.to_string(), "root certificate: expected one certificate in PEM, found 2 of them");
}

#[test]
fn damaged_text_never_panics_and_is_never_taken_up() {
    let good = authority().to_pem().unwrap();
    let load = |fields: [&str; 4]| {
        let [root_certificate, root_key, issuer_certificate, issuer_key] = fields.map(str::to_owned);
        Authority::from_pem(AuthorityPem { root_certificate, root_key, issuer_certificate, issuer_key })
    };
    let fields = [&*good.root_certificate, &*good.root_key, &*good.issuer_certificate, &*good.issuer_key];
    load(fields).unwrap();
    for part in 0..fields.len() {
        let whole = fields[part].trim_end().len();
        for end in (0..whole).step_by(3) {
            let mut cut = fields;
            cut[part] = &fields[part][..end];
            assert!(load(cut).is_err(), "part {part} cut at {end}");
        }
    }
}

#[test]
fn keys_are_not_printed() {
    let authority = authority();
    let pem = authority.to_pem().unwrap();
    let secret = pem.root_key.lines().nth(1).unwrap();
    for text in [format!("{authority:?}"), format!("{pem:?}")] {
        assert!(!text.contains(secret) && !text.contains("PRIVATE"), "{text}");
    }
}
