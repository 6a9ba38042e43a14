//! New issuers under a root that was kept, whatever their lives.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The life of the tests' root.
const ROOT_LIFE: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

static ROOT: LazyLock<AuthorityPem> = LazyLock::new(|| {
    let lifetimes = AuthorityLifetimes { root: ROOT_LIFE, issuer: HOUR };
    Authority::generate(&TrustDomain::default(), now(), lifetimes).unwrap().to_pem().unwrap()
});

fn issued(at: SystemTime, lifetime: Duration) -> Result<Authority, AuthorityError> {
    Authority::issue(&ROOT.root_certificate, &ROOT.root_key, &TrustDomain::default(), at, lifetime)
}

fn seconds(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `after` and `later` are when, in the root's life, an issuer is made, and in the issuer's, a leaf.
    #[test]
    fn what_an_issuer_signs_holds_under_its_root_and_outlives_nobody(
        after in seconds(0..=ROOT_LIFE.as_secs() - 3600),
        lifetime in seconds(60..=3 * YEAR.as_secs()),
        later in 0.0..1.0_f64,
        leaf in seconds(1..=3 * YEAR.as_secs()),
    ) {
        let (made, root_end) = (now() + after, now() + ROOT_LIFE);
        let authority = issued(made, lifetime).unwrap();
        let end = authority.issuer().not_after;
        prop_assert_eq!(end, (made + lifetime).min(root_end));
        prop_assert_eq!(authority.root().not_after, root_end);

        let at = made + Duration::from_secs(((end.duration_since(made).unwrap().as_secs() - 1) as f64 * later) as u64);
        let signed = authority.sign(&csr(&id("checkout")), &id("checkout"), leaf, at).unwrap();
        prop_assert_eq!(signed.not_after, (at + leaf).min(end));
        // A peer knows the root alone.
        let trust = Trust { anchors: vec![der(&ROOT.root_certificate)], ..Trust::default() };
        let accepted = |when| tls::accepts(&signed.chain_pem, &trust, when);
        for when in [at, signed.not_after] {
            prop_assert_eq!(accepted(when), Ok(()));
        }
        for when in [at - CLOCK_SKEW - Duration::from_secs(1), signed.not_after + Duration::from_secs(1)] {
            prop_assert!(accepted(when).is_err());
        }
        let other = Trust { anchors: authority_anchors(), ..Trust::default() };
        prop_assert!(tls::accepts(&signed.chain_pem, &other, at).is_err());
        prop_assert!(authority.sign(&csr(&id("late")), &id("late"), leaf, end + Duration::from_secs(1)).is_err());
    }

    /// Nothing of a request but its key comes into a certificate, and a key that is too weak doesn't either.
    #[test]
    fn an_issuer_takes_no_name_and_no_weak_key_from_a_request(
        account in "[a-z]{1,12}", name in "[a-z]{1,12}(\\.[a-z]{1,12}){0,3}", kind in 0..5_usize,
    ) {
        let authority = issued(now(), YEAR).unwrap();
        let kinds = [
            &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519,
            &rcgen::PKCS_ECDSA_P521_SHA512, &rcgen::PKCS_RSA_SHA256,
        ];
        let key = KeyPair::generate_for(kinds[kind]).unwrap();
        let (own, foreign) = (id(&account), format!("spiffe://cluster.local/ns/other/sa/{account}"));
        let sign = |names| authority.sign(&csr_of(&key, names), &own, HOUR, now());
        let dns = SanType::DnsName(name.as_str().try_into().unwrap());
        let address = SanType::IpAddress("10.0.0.1".parse().unwrap());
        let signed = sign(vec![dns, address, uri(own.as_str())]);
        if kind > 2 {
            let refused = matches!(signed, Err(AuthorityError::Request(RequestError::KeyKind(_))));
            prop_assert!(refused);
            return Ok(());
        }
        let leaf = der(&signed.unwrap().chain_pem[0]);
        let names = certificate::parse(&leaf).unwrap().subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        prop_assert_eq!(names, vec![GeneralName::URI(own.as_str())]);
        for names in [vec![uri(&foreign)], vec![uri(own.as_str()), uri(&foreign)]] {
            let refused = matches!(sign(names), Err(AuthorityError::Request(RequestError::Identity { .. })));
            prop_assert!(refused);
        }
    }
}

#[test]
fn a_root_out_of_its_dates_or_without_its_key_issues_nothing() {
    let early = issued(now() - CLOCK_SKEW - HOUR, YEAR).unwrap_err();
    assert!(matches!(&early, AuthorityError::NotYetValid { role, .. } if role == "root"), "{early}");
    let late = issued(now() + ROOT_LIFE + HOUR, YEAR).unwrap_err();
    assert!(matches!(&late, AuthorityError::Expired { role, .. } if role == "root"), "{late}");
    let foreign = authority().to_pem().unwrap();
    let other = Authority::issue(&ROOT.root_certificate, &foreign.root_key, &TrustDomain::default(), now(), YEAR);
    assert!(matches!(&other, Err(AuthorityError::KeyMismatch { role }) if role == "root"), "{other:?}");
    let key = KeyPair::generate().unwrap();
    let leaf = sign(&authority(), &csr_of(&key, vec![])).unwrap();
    let below = Authority::issue(&leaf.chain_pem[0], &key.serialize_pem(), &TrustDomain::default(), now(), HOUR);
    assert!(matches!(&below, Err(AuthorityError::NoAuthority { role }) if role == "root"), "{below:?}");
}

/// A root that allows no names of ours: its signature would do, and every peer would refuse it.
#[test]
fn a_root_whose_constraints_forbid_our_leaves_issues_nothing() {
    let key = KeyPair::generate().unwrap();
    let mut params = signer::dated_params(now(), YEAR, None).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "elsewhere");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DirectoryName(DistinguishedName::new())],
        excluded_subtrees: Vec::new(),
    });
    let root = params.self_signed(&key).unwrap().pem();
    let refused = Authority::issue(&root, &key.serialize_pem(), &TrustDomain::default(), now(), HOUR);
    assert!(matches!(refused, Err(AuthorityError::Unaccepted { .. })), "{refused:?}");
}

fn authority_anchors() -> Vec<Vec<u8>> {
    authority().anchors()
}
