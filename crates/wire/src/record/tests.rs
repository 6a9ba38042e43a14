use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use weft_mesh::record::{
    Action, AppProtocol, Cidr, Claim, Condition, Defect, Endpoint, EndpointPort, Enforcement, Matches, MtlsMode,
    Operation, Origin, PathPattern, Pattern, Peer, PeerAuthentication, Policy, PortProtocol, Rule, Scoped,
    ServiceAccountRef, ServicePort, Source, Tunnel, Undeclared,
};
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use super::*;
use crate::proto::weft::v1::condition::Attribute;
use crate::proto::weft::v1::{path_pattern, pattern};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_survive_the_way(record in record()) {
        let bytes = record.encode();
        prop_assert_eq!(&bytes, &record.encode());
        prop_assert_eq!(Record::decode(record.type_url(), &bytes), Ok(record));
    }

    #[test]
    fn damaged_bytes_never_panic(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Record::decode(record.type_url(), &bytes);
        let _ = Record::decode(record.type_url(), &bytes[..at]);
    }
}

#[test]
fn a_record_tells_its_names() {
    let destination = destination_with(|_| {});
    let record = Record::Destination(destination.clone());
    assert_eq!(record.name(), "web.default.svc.cluster.local");
    assert_eq!(record.aliases(), ["240.240.0.9", "fd77::9"]);
    assert_eq!(Record::Trust(trust()).name(), TRUST_NAME);
    assert!(Record::Trust(trust()).aliases().is_empty());
}

#[test]
fn a_destination_that_is_not_understood_is_refused() {
    let check = |field: &str, spoil: fn(&mut proto::Destination)| {
        let mut message = proto::Destination::from(&destination_with(|_| {}));
        spoil(&mut message);
        refused(field, Destination::try_from(message).map(|_| ()));
    };
    check("host", |d| d.host.clear());
    check("service", |d| d.service.clear());
    check("namespace", |d| d.namespace.clear());
    check("addresses[1]", |d| d.addresses[1] = vec![0; 5]);
    check("ports[0].port", |d| d.ports[0].port = 65_536);
    check("ports[0].target", |d| d.ports[0].target = 0);
    check("ports[0].protocol", |d| d.ports[0].protocol = 99);
    check("ports[1]", |d| d.ports.swap(0, 1));
    check("ports[1]", |d| d.ports[1].port = d.ports[0].port);
    check("endpoints[0].workload", |d| d.endpoints[0].workload = "web".to_owned());
    check("endpoints[0].address", |d| d.endpoints[0].address.clear());
    check("endpoints[0].identity", |d| d.endpoints[0].identity = "web".to_owned());
    check("endpoints[0].weight", |d| d.endpoints[0].weight = 0);
    check("endpoints[0].tunnel", |d| d.endpoints[0].tunnel = 0);
    check("endpoints[0].tunnel", |d| d.endpoints[0].tunnel = 4);
    check("endpoints[0].tunnel_address", |d| d.endpoints[0].tunnel_address.clear());
    check("endpoints[0].tunnel_address", |d| d.endpoints[0].tunnel = proto::TunnelKind::Plain.into());
    check("endpoints[0].tunnel_port", |d| d.endpoints[0].tunnel_port = 70_000);
    check("endpoints[0].identity", |d| {
        let endpoint = &mut d.endpoints[0];
        (endpoint.tunnel, endpoint.tunnel_port) = (proto::TunnelKind::Plain.into(), 0);
        endpoint.tunnel_address.clear();
    });
    check("endpoints[0].ports[1]", |d| d.endpoints[0].ports.swap(0, 1));
    check("endpoints[0].ports[0].port", |d| d.endpoints[0].ports[0].port = 0);
    check("endpoints[0].ports[0].target", |d| d.endpoints[0].ports[0].target = 65_536);
}

#[test]
fn an_inbound_record_that_is_not_understood_is_refused() {
    let check = |field: &str, spoil: fn(&mut proto::Inbound)| {
        let mut message = proto::Inbound::from(&inbound());
        spoil(&mut message);
        refused(field, Inbound::try_from(message).map(|_| ()));
    };
    check("workload", |i| i.workload.clear());
    check("identity", |i| i.identity = "spiffe://td/web".to_owned());
    check("service", |i| i.service.clear());
    check("ports[0].protocol", |i| i.ports[0].protocol = -1);
    check("peer_authentication", |i| i.peer_authentication = None);
    check("peer_authentication.default", |i| authentication(i).default = None);
    check("peer_authentication.default.mode", |i| {
        authentication(i).default = Some(proto::ScopedMode { mode: 0, origin: None });
    });
    check("peer_authentication.ports[70000]", |i| {
        authentication(i).ports.insert(70_000, proto::ScopedMode { mode: 3, origin: None });
    });
    check("peer_authentication.ports[80].mode", |i| {
        authentication(i).ports.insert(80, proto::ScopedMode { mode: 4, origin: None });
    });
    check("policies[0].origin", |i| i.policies[0].origin = None);
    check("policies[0].action", |i| i.policies[0].action = 0);
    check("policies[0].action", |i| i.policies[0].action = 4);
}

#[test]
fn a_rule_that_is_not_understood_is_refused() {
    let check = |field: &str, spoil: fn(&mut proto::Rule)| {
        let mut message = proto::Inbound::from(&inbound());
        spoil(&mut message.policies[0].rules[0]);
        refused(&format!("policies[0].rules[0].{field}"), Inbound::try_from(message).map(|_| ()));
    };
    fn patterns(any: proto::Pattern) -> Option<proto::Patterns> {
        Some(proto::Patterns { any: vec![any], not: Vec::new() })
    }
    check("from[0].principals.any[0]", |r| {
        r.from[0].principals = patterns(proto::Pattern { kind: None });
    });
    check("from[0].principals.any[0].present", |r| {
        r.from[0].principals = patterns(proto::Pattern { kind: Some(pattern::Kind::Present(false)) });
    });
    check("from[0].ip_blocks.not[0].bits", |r| {
        let block = proto::Block { address: vec![10, 0, 0, 0], bits: 33 };
        r.from[0].ip_blocks = Some(proto::Blocks { any: Vec::new(), not: vec![block] });
    });
    check("from[0].request_principals.any[0].subject", |r| {
        let issuer = Some(proto::Pattern { kind: Some(pattern::Kind::Exact("a".to_owned())) });
        let claim = proto::Claim { issuer, subject: None };
        r.from[0].request_principals = Some(proto::Claims { any: vec![claim], not: Vec::new() });
    });
    check("to[0].ports.any[0]", |r| r.to[0].ports = Some(proto::Ports { any: vec![65_536], not: Vec::new() }));
    check("to[0].paths.any[0]", |r| {
        r.to[0].paths = Some(proto::Paths { any: vec![proto::PathPattern { kind: None }], not: Vec::new() });
    });
    check("to[0].paths.any[0].text", |r| {
        let path = proto::PathPattern { kind: Some(path_pattern::Kind::Text(proto::Pattern { kind: None })) };
        r.to[0].paths = Some(proto::Paths { any: vec![path], not: Vec::new() });
    });
    check("when[0]", |r| r.when = vec![proto::Condition { attribute: None }]);
    check("when[0].header.name", |r| {
        let header = proto::Header { name: "X-Up".to_owned(), values: None };
        r.when = vec![proto::Condition { attribute: Some(Attribute::Header(header)) }];
    });
    check("when[0].auth.claim", |r| {
        let auth = proto::Auth { claim: Vec::new(), values: None };
        r.when = vec![proto::Condition { attribute: Some(Attribute::Auth(auth)) }];
    });
}

#[test]
fn trust_needs_a_domain_and_an_anchor() {
    let check = |field: &str, spoil: fn(&mut proto::Trust)| {
        let mut message = proto::Trust::from(&trust());
        spoil(&mut message);
        refused(field, Trust::try_from(message).map(|_| ()));
    };
    check("domain", |t| t.domain = "UPPER".to_owned());
    check("anchors", |t| t.anchors.clear());
    check("anchors[0]", |t| t.anchors[0].clear());
}

#[test]
fn other_types_and_other_bytes_are_refused() {
    assert_eq!(Record::decode("type/x", &[]), Err(RecordError::Type("type/x".to_owned())));
    assert!(matches!(Record::decode(TRUST_TYPE, &[0xff]), Err(RecordError::Bytes(_))));
    assert!(Record::decode(INBOUND_TYPE, &[]).is_err());
}

fn refused(expected: &str, read: Result<(), RecordError>) {
    match read {
        Err(RecordError::Field { field, .. }) => assert_eq!(field, expected),
        other => panic!("expected an error at {expected}, found {other:?}"),
    }
}

fn authentication(inbound: &mut proto::Inbound) -> &mut proto::PeerAuthentication {
    inbound.peer_authentication.as_mut().unwrap()
}

fn trust() -> Trust {
    Trust { anchors: vec![vec![0x30, 0]], ..Trust::default() }
}

fn destination_with(change: fn(&mut Destination)) -> Destination {
    let port = |port| ServicePort { port, target: 8080, protocol: AppProtocol::Http };
    let mut destination = Destination {
        host: "web.default.svc.cluster.local".to_owned(),
        service: "web".to_owned(),
        namespace: "default".to_owned(),
        addresses: vec!["240.240.0.9".parse().unwrap(), "fd77::9".parse().unwrap()],
        ports: vec![port(80), port(81)],
        undeclared: Undeclared::Forward,
        endpoints: vec![Endpoint {
            workload: Some("default/web-1".parse().unwrap()),
            address: "240.240.7.7".parse().unwrap(),
            tunnel: Tunnel::Mesh(Peer {
                address: "127.1.2.3:15008".parse().unwrap(),
                identity: "spiffe://cluster.local/ns/default/sa/web".parse().unwrap(),
            }),
            weight: 1,
            ports: vec![EndpointPort { port: 80, target: Some(8081) }, EndpointPort { port: 81, target: None }],
        }],
    };
    change(&mut destination);
    destination
}

fn inbound() -> Inbound {
    let rule = Rule {
        from: vec![Source::default()],
        to: vec![Operation::default()],
        when: vec![Condition::Sni(Matches::default())],
        ..Rule::default()
    };
    let origin = Origin { namespace: "default".to_owned(), name: "p".to_owned(), file: "p.yaml".to_owned(), line: 1 };
    Inbound {
        workload: "default/web-1".parse().unwrap(),
        identity: "spiffe://cluster.local/ns/default/sa/web".parse().unwrap(),
        service: "web".to_owned(),
        addresses: vec!["240.240.7.7".parse().unwrap()],
        ports: vec![PortProtocol { port: 80, name: None, protocol: AppProtocol::Detect }],
        peer_authentication: PeerAuthentication::default(),
        policies: vec![Policy {
            origin,
            action: Action::Allow,
            enforcement: Enforcement::Enforced,
            rules: vec![rule],
            defect: None,
        }],
    }
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_inbound().prop_map(Record::Inbound),
        any_destination().prop_map(Record::Destination),
        (vec(vec(any::<u8>(), 1..9), 1..3), vec(block(), 0..3)).prop_map(|(anchors, networks)| {
            Record::Trust(Trust { domain: TrustDomain::default(), anchors, networks })
        }),
    ]
}

fn any_inbound() -> impl Strategy<Value = Inbound> {
    let who = (workload(), identity(), "[a-z]{1,9}", vec(any::<IpAddr>(), 0..3));
    (who, ports(), authentications(), vec(policy(), 0..4)).prop_map(
        |((workload, identity, service, addresses), ports, peer_authentication, policies)| Inbound {
            workload,
            identity,
            service,
            addresses,
            ports: ports.into_iter().map(|(port, (name, protocol, _))| PortProtocol { port, name, protocol }).collect(),
            peer_authentication,
            policies,
        },
    )
}

fn any_destination() -> impl Strategy<Value = Destination> {
    let names = ("[a-z.]{1,9}", "[a-z]{1,9}", "[a-z]{1,9}");
    (names, vec(any::<IpAddr>(), 0..3), ports(), any::<bool>(), vec(endpoint(), 0..4)).prop_map(
        |((host, service, namespace), addresses, ports, forward, endpoints)| Destination {
            host,
            service,
            namespace,
            addresses,
            ports: ports
                .into_iter()
                .map(|(port, (_, protocol, target))| ServicePort { port, target, protocol })
                .collect(),
            undeclared: if forward { Undeclared::Forward } else { Undeclared::Refuse },
            endpoints,
        },
    )
}

fn ports() -> impl Strategy<Value = BTreeMap<u16, (Option<String>, AppProtocol, u16)>> {
    let protocol = prop::sample::select(vec![
        AppProtocol::Detect,
        AppProtocol::Http,
        AppProtocol::Http2,
        AppProtocol::Grpc,
        AppProtocol::Tcp,
    ]);
    btree_map(1..=u16::MAX, (option::of("[a-z]{1,5}"), protocol, 1..=u16::MAX), 0..5)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let end = (any::<IpAddr>(), 1..=u16::MAX).prop_map(std::net::SocketAddr::from);
    let peer = (end, identity()).prop_map(|(address, identity)| Peer { address, identity }).boxed();
    let tunnel = prop_oneof![peer.clone().prop_map(Tunnel::Mesh), peer.prop_map(Tunnel::Hbone), Just(Tunnel::Plain)];
    let ports = btree_map(1..=u16::MAX, option::of(1..=u16::MAX), 0..3);
    let ports = ports.prop_map(|ports| ports.into_iter().map(|(port, target)| EndpointPort { port, target }).collect());
    (option::of(workload()), any::<IpAddr>(), tunnel, 1..=u32::MAX, ports)
        .prop_map(|(workload, address, tunnel, weight, ports)| Endpoint { workload, address, tunnel, weight, ports })
}

fn workload() -> impl Strategy<Value = WorkloadId> {
    ("[a-z]{1,9}", "[a-z]{1,9}").prop_map(|(namespace, name)| WorkloadId::new(&namespace, &name).unwrap())
}

fn identity() -> impl Strategy<Value = SpiffeId> {
    ("[a-z]{1,9}", "[a-z]{1,9}")
        .prop_map(|(namespace, account)| SpiffeId::new(&TrustDomain::default(), &namespace, &account).unwrap())
}

fn authentications() -> impl Strategy<Value = PeerAuthentication> {
    (scoped(), btree_map(1..=u16::MAX, scoped(), 0..4))
        .prop_map(|(default, ports)| PeerAuthentication { default, ports })
}

fn scoped() -> impl Strategy<Value = Scoped> {
    let mode = prop::sample::select(vec![MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict]);
    (mode, option::of(origin())).prop_map(|(mode, origin)| Scoped { mode, origin })
}

fn origin() -> impl Strategy<Value = Origin> {
    ("\\PC{0,9}", "\\PC{0,9}", "\\PC{0,9}", any::<u32>()).prop_map(|(namespace, name, file, line)| Origin {
        namespace,
        name,
        file,
        line,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = prop::sample::select(vec![Action::Allow, Action::Deny, Action::Audit]);
    let enforcement = prop::sample::select(vec![Enforcement::Enforced, Enforcement::DryRun]);
    (origin(), action, enforcement, vec(rule(), 0..3), option::of("\\PC{1,9}")).prop_map(
        |(origin, action, enforcement, rules, defect)| Policy {
            origin,
            action,
            enforcement,
            rules,
            defect: defect.map(Defect),
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    (any::<u32>(), any::<u32>(), vec(source(), 0..3), vec(operation(), 0..3), vec(condition(), 0..4))
        .prop_map(|(index, line, from, to, when)| Rule { index, line, from, to, when })
}

fn source() -> impl Strategy<Value = Source> {
    let texts = (patterns(), patterns(), patterns());
    (texts, matches(account()), matches(block()), matches(block()), matches(claim())).prop_map(
        |((principals, namespaces, trust_domains), service_accounts, ip_blocks, remote_ip_blocks, claims)| Source {
            principals,
            namespaces,
            service_accounts,
            trust_domains,
            ip_blocks,
            remote_ip_blocks,
            request_principals: claims,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let path = prop_oneof![pattern().prop_map(PathPattern::Text), "[a-z/{}*]{0,9}".prop_map(PathPattern::Template)];
    (patterns(), numbers(), patterns(), matches(path)).prop_map(|(hosts, ports, methods, paths)| Operation {
        hosts,
        ports,
        methods,
        paths,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        ("[a-z-]{1,9}", patterns()).prop_map(|(name, values)| Condition::Header(name, values)),
        matches(block()).prop_map(Condition::SourceIp),
        matches(block()).prop_map(Condition::RemoteIp),
        patterns().prop_map(Condition::SourceNamespace),
        matches(account()).prop_map(Condition::SourceServiceAccount),
        patterns().prop_map(Condition::SourceTrustDomain),
        patterns().prop_map(Condition::SourcePrincipal),
        matches(block()).prop_map(Condition::DestinationIp),
        numbers().prop_map(Condition::DestinationPort),
        patterns().prop_map(Condition::Sni),
        (vec("\\PC{0,9}", 1..3), patterns()).prop_map(|(claim, values)| Condition::Auth(claim, values)),
    ]
}

fn matches<T: std::fmt::Debug + Clone>(item: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Matches<T>> {
    (vec(item.clone(), 0..3), vec(item, 0..3)).prop_map(|(any, not)| Matches { any, not })
}

fn patterns() -> impl Strategy<Value = Matches<Pattern>> {
    matches(pattern())
}

fn numbers() -> impl Strategy<Value = Matches<u16>> {
    (btree_set(1..=u16::MAX, 0..3), btree_set(1..=u16::MAX, 0..3))
        .prop_map(|(any, not)| Matches { any: any.into_iter().collect(), not: not.into_iter().collect() })
}

fn pattern() -> impl Strategy<Value = Pattern> + Clone {
    prop_oneof![
        "\\PC{0,9}".prop_map(Pattern::Exact),
        "\\PC{0,9}".prop_map(Pattern::Prefix),
        "\\PC{0,9}".prop_map(Pattern::Suffix),
        Just(Pattern::Present),
    ]
}

fn account() -> impl Strategy<Value = ServiceAccountRef> + Clone {
    ("[a-z]{0,9}", "[a-z]{0,9}").prop_map(|(namespace, name)| ServiceAccountRef { namespace, name })
}

fn block() -> impl Strategy<Value = Cidr> + Clone {
    (any::<IpAddr>(), 0..=32u8).prop_map(|(address, bits)| Cidr::new(address, bits).unwrap())
}

fn claim() -> impl Strategy<Value = Claim> + Clone {
    (pattern(), pattern()).prop_map(|(issuer, subject)| Claim { issuer, subject })
}
