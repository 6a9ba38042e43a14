use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CustomExtension, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::UnixTime;
use rustls::{ClientConnection, ConnectionCommon, Error, NamedGroup, ServerConnection};

use super::*;
use crate::authority::{Authority, AuthorityLifetimes};
use crate::certificate::peer_identity;
use crate::fixtures::{HOUR, authority, credential, forged, id, leaf_params, now, shown, trust};
use crate::reason::{Reason, describe};

/// A clock that stands still.
#[derive(Debug)]
struct Fixed(SystemTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

fn at(time: SystemTime) -> TlsSettings {
    TlsSettings { time: Arc::new(Fixed(time)), ..TlsSettings::default() }
}

/// A workload of `authority` whose clock says `now`.
fn side(authority: &Authority, account: &str) -> MeshTls {
    side_trusting(authority, account, &trust(authority))
}

fn side_trusting(authority: &Authority, account: &str, trust: &Trust) -> MeshTls {
    MeshTls::with_settings(credential(authority, &id(account)), trust, at(now())).unwrap()
}

/// How a handshake ended, seen from both sides.
struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<Error>,
    server_error: Option<Error>,
}

impl Outcome {
    fn reasons(&self) -> (Option<Reason>, Option<Reason>) {
        (self.client_error.as_ref().map(Reason::from), self.server_error.as_ref().map(Reason::from))
    }

    fn succeeded(&self) -> bool {
        self.reasons() == (None, None) && !self.client.is_handshaking() && !self.server.is_handshaking()
    }
}

/// Carries bytes between the two until both are silent.
fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Outcome {
    let mut client = ClientConnection::new(client, server_name()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    loop {
        let sent = carry(&mut client, &mut server, &mut server_error);
        let answered = carry(&mut server, &mut client, &mut client_error);
        if !sent && !answered {
            return Outcome { client, server, client_error, server_error };
        }
    }
}

fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>, error: &mut Option<Error>) -> bool {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        *error = to.process_new_packets().err();
    }
    !bytes.is_empty()
}

/// Client `web` calls server `api`, and may have either side's configuration changed before.
fn call(
    change_client: impl FnOnce(&Authority, &mut ClientConfig),
    change_server: impl FnOnce(&Authority, &mut ServerConfig),
) -> Outcome {
    let authority = authority();
    let mut client = side(&authority, "web").client_config(&[id("api")], &[b"weft/1"]);
    let mut server = side(&authority, "api").server_config(&[b"weft/1", b"h2"]);
    change_client(&authority, Arc::make_mut(&mut client));
    change_server(&authority, Arc::make_mut(&mut server));
    handshake(client, server)
}

fn unchanged<C>(_: &Authority, _: &mut C) {}

#[test]
fn a_good_pair_sees_each_other_s_identity() {
    let done = call(unchanged, unchanged);
    assert!(done.succeeded(), "{:?}", done.reasons());
    assert_eq!(peer_identity(done.client.peer_certificates().unwrap()), Ok(id("api")));
    assert_eq!(peer_identity(done.server.peer_certificates().unwrap()), Ok(id("web")));
    assert_eq!(done.client.alpn_protocol(), Some(&b"weft/1"[..]));
    assert_eq!(done.server.server_name(), None, "no name is sent");
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256;
    assert_eq!(done.client.negotiated_cipher_suite(), Some(suite));
    let group = done.client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(done.client.tls13_tickets_received(), 0);
}

#[test]
fn a_second_handshake_is_a_full_one() {
    let authority = authority();
    let client = side(&authority, "web").client_config(&[id("api")], &[]);
    let server = side(&authority, "api").server_config(&[]);
    for _ in 0..2 {
        let done = handshake(Arc::clone(&client), Arc::clone(&server));
        assert_eq!(done.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(done.server.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn one_of_several_expected_identities_is_enough() {
    let authority = authority();
    let web = side(&authority, "web");
    let server = side(&authority, "api").server_config(&[]);
    let expected = [id("old"), id("api")];
    assert!(handshake(web.client_config(&expected, &[]), Arc::clone(&server)).succeeded());
    let nobody = handshake(web.client_config(&[], &[]), server);
    assert_eq!(nobody.reasons().0, Some(Reason::WrongIdentity));
}

#[test]
fn the_wrong_server_is_refused_by_the_client() {
    let authority = authority();
    let client = side(&authority, "web").client_config(&[id("api"), id("api2")], &[]);
    let done = handshake(client, side(&authority, "thief").server_config(&[]));
    assert_eq!(done.reasons(), (Some(Reason::WrongIdentity), Some(Reason::PeerRefusedIdentity)));
    assert_eq!(
        describe(&done.client_error.unwrap()),
        "invalid peer certificate: expected the peer to be spiffe://cluster.local/ns/shop/sa/api or \
         spiffe://cluster.local/ns/shop/sa/api2, found spiffe://cluster.local/ns/shop/sa/thief"
    );
}

#[test]
fn a_client_of_another_trust_domain_is_refused_unless_it_is_an_alias() {
    let elsewhere: TrustDomain = "elsewhere.test".parse().unwrap();
    let other = Authority::generate(&elsewhere, now(), AuthorityLifetimes::default()).unwrap();
    let caller = SpiffeId::new(&elsewhere, "shop", "web").unwrap();
    let mine = authority();
    let anchors = [mine.anchors(), other.anchors()].concat();
    let both = Trust { anchors, ..Trust::default() };
    let client = MeshTls::with_settings(credential(&other, &caller), &both, at(now())).unwrap();
    let client = client.client_config(&[id("api")], &[]);
    let done = handshake(Arc::clone(&client), side_trusting(&mine, "api", &both).server_config(&[]));
    assert_eq!(done.reasons(), (Some(Reason::PeerRefusedIdentity), Some(Reason::OtherTrustDomain)));
    assert_eq!(
        describe(&done.server_error.unwrap()),
        "invalid peer certificate: expected a peer of trust domain cluster.local, found \
         spiffe://elsewhere.test/ns/shop/sa/web"
    );
    let settings = TlsSettings { aliases: vec![elsewhere], ..at(now()) };
    let server = MeshTls::with_settings(credential(&mine, &id("api")), &both, settings).unwrap();
    assert!(handshake(client, server.server_config(&[])).succeeded());
}

#[test]
fn another_root_is_refused_on_either_side() {
    let (mine, other) = (authority(), authority());
    let both = Trust { anchors: [mine.anchors(), other.anchors()].concat(), ..Trust::default() };
    let server = side_trusting(&other, "api", &both).server_config(&[]);
    let done = handshake(side(&mine, "web").client_config(&[id("api")], &[]), server);
    assert_eq!(done.reasons(), (Some(Reason::UnknownIssuer), Some(Reason::PeerUnknownIssuer)));

    let client = side_trusting(&other, "web", &both).client_config(&[id("api")], &[]);
    let done = handshake(client, side(&mine, "api").server_config(&[]));
    assert_eq!(done.reasons(), (Some(Reason::PeerUnknownIssuer), Some(Reason::UnknownIssuer)));
}

#[test]
fn two_anchors_admit_both_during_a_rotation() {
    let (old, new) = (authority(), authority());
    let both = Trust { anchors: [old.anchors(), new.anchors()].concat(), ..Trust::default() };
    let client = side_trusting(&old, "web", &both).client_config(&[id("api")], &[]);
    assert!(handshake(client, side_trusting(&new, "api", &both).server_config(&[])).succeeded());
}

#[test]
fn dates_are_checked_on_either_side() {
    let cases = [
        (now() + 2 * HOUR, Reason::Expired),
        (now() - HOUR, Reason::NotYetValid),
        (now() + Duration::from_secs(40 * 365 * 86_400), Reason::Expired),
    ];
    for (time, reason) in cases {
        let done = call(|_, client| client.time_provider = Arc::new(Fixed(time)), unchanged);
        assert_eq!(done.reasons(), (Some(reason), Some(Reason::PeerExpired)));
        let done = call(unchanged, |_, server| server.time_provider = Arc::new(Fixed(time)));
        assert_eq!(done.reasons(), (Some(Reason::PeerExpired), Some(reason)));
    }
}

#[test]
fn a_client_without_certificate_is_refused() {
    let authority = authority();
    let roots = Arc::new(roots(&trust(&authority)).unwrap());
    let client = ClientConfig::builder_with_details(provider(), Arc::new(Fixed(now())))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(server_verifier(&roots, &[id("api")]))
        .with_no_client_auth();
    let done = handshake(Arc::new(client), side(&authority, "api").server_config(&[]));
    assert_eq!(done.reasons(), (Some(Reason::PeerWantsCertificate), Some(Reason::NoCertificate)));
}

#[test]
fn a_leaf_can_t_vouch_for_others() {
    let rogue = |authority: &Authority, name: &str| {
        let (chain, key) = forged(authority, &leaf_params(&[id("real").as_str()]));
        let signer = Issuer::from_ca_cert_der(&chain[0], key).unwrap();
        let rogue_key = KeyPair::generate().unwrap();
        let leaf = leaf_params(&[id(name).as_str()]).signed_by(&rogue_key, &signer).unwrap();
        shown([vec![leaf.der().clone()], chain].concat(), &rogue_key)
    };
    let done = call(|authority, client| client.client_auth_cert_resolver = rogue(authority, "web"), unchanged);
    assert_eq!(done.reasons(), (Some(Reason::PeerRefusedIdentity), Some(Reason::WrongUse)));
    let done = call(unchanged, |authority, server| server.cert_resolver = rogue(authority, "api"));
    assert_eq!(done.reasons(), (Some(Reason::WrongUse), Some(Reason::PeerRefusedIdentity)));
}

#[test]
fn an_authority_s_certificate_is_no_workload_s() {
    let done = call(
        |authority, client| {
            let mut params = leaf_params(&[id("web").as_str()]);
            params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyCertSign];
            let (chain, key) = forged(authority, &params);
            client.client_auth_cert_resolver = shown(chain, &key);
        },
        unchanged,
    );
    assert_eq!(done.reasons().1, Some(Reason::WrongUse));
}

#[test]
fn a_leaf_for_another_use_is_refused() {
    let done = call(unchanged, |authority, server| {
        let mut params = leaf_params(&[id("api").as_str()]);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let (chain, key) = forged(authority, &params);
        server.cert_resolver = shown(chain, &key);
    });
    assert_eq!(done.reasons().0, Some(Reason::WrongUse));
}

#[test]
fn anything_but_one_uri_is_refused_on_either_side() {
    let (web, api, other) = (id("web"), id("api"), id("other"));
    for extra in [&[other.as_str()][..], &["https://example.test"], &[other.as_str(), "x:y"]] {
        let done = call(
            |authority, client| {
                let (chain, key) = forged(authority, &leaf_params(&[&[web.as_str()], extra].concat()));
                client.client_auth_cert_resolver = shown(chain, &key);
            },
            unchanged,
        );
        assert_eq!(done.reasons(), (Some(Reason::PeerRefusedIdentity), Some(Reason::NoIdentity)));
        let done = call(unchanged, |authority, server| {
            let (chain, key) = forged(authority, &leaf_params(&[&[api.as_str()], extra].concat()));
            server.cert_resolver = shown(chain, &key);
        });
        assert_eq!(done.reasons(), (Some(Reason::NoIdentity), Some(Reason::PeerRefusedIdentity)));
    }
    let done = call(unchanged, |authority, server| {
        let mut params = leaf_params(&[]);
        params.subject_alt_names = vec![rcgen::SanType::DnsName("api.shop.svc".try_into().unwrap())];
        let (chain, key) = forged(authority, &params);
        server.cert_resolver = shown(chain, &key);
    });
    assert_eq!(done.reasons().0, Some(Reason::NoIdentity), "a DNS name is no identity");
}

#[test]
fn a_second_uri_can_t_hide_behind_unreadable_octets() {
    let done = call(
        |authority, client| {
            let web = id("web").to_string();
            let mut names = vec![0x86, u8::try_from(web.len()).unwrap()];
            names.extend(web.bytes());
            names.extend([0x86, 2, 0xff, 0xfe]);
            let content = [vec![0x30, u8::try_from(names.len()).unwrap()], names].concat();
            let mut params = leaf_params(&[]);
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], content)];
            let (chain, key) = forged(authority, &params);
            assert_eq!(peer_identity(&chain), Ok(id("web")), "the fast reader passes over it");
            client.client_auth_cert_resolver = shown(chain, &key);
        },
        unchanged,
    );
    assert_eq!(done.reasons().1, Some(Reason::NoIdentity));
}

#[test]
fn somebody_else_s_certificate_is_of_no_use_without_its_key() {
    let done = call(
        |authority, client| {
            let (chain, _) = forged(authority, &leaf_params(&[id("admin").as_str()]));
            client.client_auth_cert_resolver = shown(chain, &KeyPair::generate().unwrap());
        },
        unchanged,
    );
    assert_eq!(done.reasons().1, Some(Reason::BadCertificate));
}

#[test]
fn tls_1_2_is_refused() {
    let authority = authority();
    let roots = roots(&trust(&authority)).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let done = handshake(Arc::new(client), side(&authority, "api").server_config(&[]));
    assert_eq!(done.reasons(), (Some(Reason::PeerIncompatible), Some(Reason::Version)));
}

#[test]
fn no_common_protocol_and_no_tls_have_reasons_of_their_own() {
    let done = call(unchanged, |_, server| server.alpn_protocols = vec![b"h2".to_vec()]);
    assert_eq!(done.reasons(), (Some(Reason::PeerIncompatible), Some(Reason::Protocol)));

    let mut server = ServerConnection::new(side(&authority(), "api").server_config(&[])).unwrap();
    server.read_tls(&mut &b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"[..]).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(Reason::from(&error), Reason::NotTls, "{error:?}");
}

#[test]
fn a_bundle_is_taken_whole_or_not_at_all() {
    let authority = authority();
    let build = |anchors| {
        let trust = Trust { anchors, ..Trust::default() };
        MeshTls::new(credential(&authority, &id("web")), &trust).map(|_| ()).unwrap_err()
    };
    assert_eq!(build(vec![]), TrustError::Empty);
    let good = authority.anchors().remove(0);
    let damaged = build(vec![good.clone(), good[..good.len() / 2].to_vec()]);
    assert!(matches!(damaged, TrustError::Anchor { place: 1, .. }), "{damaged}");
}

/// The machine's time, which configurations without settings go by.
#[expect(clippy::disallowed_methods, reason = "what is tested reads the clock itself")]
fn today() -> SystemTime {
    SystemTime::now()
}

/// A server for anyone, by the machine's clock, and a client with or without a certificate.
fn meet(server: &Authority, client: Option<&Authority>) -> Outcome {
    let now = today();
    let made = |authority: &Authority, account: &str| {
        let key = crate::credential::LeafKey::generate().unwrap();
        let leaf = authority.sign(&key.csr_pem(&id(account)).unwrap(), &id(account), HOUR, now).unwrap();
        Arc::new(Credential::new(key, &leaf.chain_pem, now).unwrap())
    };
    let config = server_config_for_anyone(&made(server, "control"), &trust(server), &[b"h2"]).unwrap();
    let expected = [id("control")];
    let client = match client {
        Some(client) => MeshTls::new(made(client, "web"), &trust(server)).unwrap().client_config(&expected, &[b"h2"]),
        None => client_config_without_identity(&trust(server), &expected, &[b"h2"]).unwrap(),
    };
    handshake(client, config)
}

#[test]
fn a_server_for_anyone_takes_no_certificate_or_a_good_one() {
    let fresh = || Authority::generate(&TrustDomain::default(), today(), AuthorityLifetimes::default()).unwrap();
    let (ours, theirs) = (fresh(), fresh());
    let nobody = meet(&ours, None);
    assert!(nobody.succeeded() && nobody.server.peer_certificates().is_none());
    let web = meet(&ours, Some(&ours));
    assert!(web.succeeded());
    assert_eq!(peer_identity(web.server.peer_certificates().unwrap()).unwrap(), id("web"));
    assert!(meet(&ours, Some(&theirs)).server_error.is_some(), "a certificate that doesn't verify is none");
}

#[test]
fn a_client_without_identity_still_verifies_the_server() {
    let fresh = || Authority::generate(&TrustDomain::default(), today(), AuthorityLifetimes::default()).unwrap();
    let (ours, theirs) = (fresh(), fresh());
    let key = crate::credential::LeafKey::generate().unwrap();
    let leaf = ours.sign(&key.csr_pem(&id("control")).unwrap(), &id("control"), HOUR, today()).unwrap();
    let credential = Credential::new(key, &leaf.chain_pem, today()).unwrap();
    let ends = |trusted: &Authority, expected: &str| {
        let server = server_config_for_anyone(&credential, &trust(&ours), &[]).unwrap();
        handshake(client_config_without_identity(&trust(trusted), &[id(expected)], &[]).unwrap(), server).succeeded()
    };
    assert_eq!([ends(&ours, "control"), ends(&ours, "other"), ends(&theirs, "control")], [true, false, false]);
}
