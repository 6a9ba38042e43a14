use super::super::settings::Keep;
use super::*;

fn marks(annotations: &[(&str, &str)]) -> Marks {
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Marks { annotations, ..Marks::default() }
}

fn both(namespace: &[(&str, &str)], pod: &[(&str, &str)]) -> Settings {
    let namespace = NamespaceMarks { name: "shop".to_owned(), marks: marks(namespace) };
    settings(&namespace, &marks(pod), Mode::Usual)
}

fn of(pod: &[(&str, &str)]) -> Settings {
    both(&[], pod)
}

fn arguments(pod: &[(&str, &str)]) -> String {
    let settings = of(pod);
    assert_eq!(settings.remarks, [""; 0]);
    settings.capture.arguments().join(" ")
}

#[test]
fn a_pod_beats_its_namespace_key_by_key() {
    let settings = both(
        &[
            ("config.linkerd.io/proxy-cpu-request", "1"),
            ("config.linkerd.io/proxy-memory-request", "1Gi"),
            ("config.linkerd.io/opaque-ports", "3306"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "1"),
            ("other", "x"),
        ],
        &[("config.linkerd.io/proxy-cpu-request", "20m")],
    );
    assert_eq!(settings.requests["cpu"], "20m");
    assert_eq!(settings.requests["memory"], "1Gi");
    let inherited: Vec<&str> = settings.inherited.keys().map(String::as_str).collect();
    assert_eq!(inherited, ["config.linkerd.io/opaque-ports", "config.linkerd.io/proxy-memory-request"]);
    assert!(settings.capture.skip_inbound_ports.is_empty(), "Istio reads pods alone");
}

#[test]
fn both_dialects_say_what_is_captured() {
    assert_eq!(arguments(&[]), "");
    assert_eq!(
        arguments(&[
            ("config.linkerd.io/skip-inbound-ports", "22,80-90"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "85-95"),
            ("config.linkerd.io/skip-subnets", "10.0.0.0/8"),
        ]),
        "--skip-inbound-ports 22,80-95 --skip-inbound-subnets 10.0.0.0/8"
    );
    assert_eq!(
        arguments(&[
            ("config.linkerd.io/skip-outbound-ports", "4222"),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8"),
            ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.1.0.0/16,fd00::/8"),
        ]),
        "--skip-outbound-ports 4222 --only-outbound-subnets 10.0.0.0/8 --skip-outbound-subnets 10.1.0.0/16,fd00::/8"
    );
    let all = [
        ("traffic.sidecar.istio.io/includeInboundPorts", "*"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "*"),
    ];
    assert_eq!(arguments(&all), "");
    let none = [
        ("traffic.sidecar.istio.io/includeInboundPorts", ""),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", ""),
    ];
    assert_eq!(arguments(&none), "--skip-inbound-ports 1-65535 --skip-outbound-ports 1-65535");
    assert_eq!(arguments(&[("traffic.sidecar.istio.io/includeInboundPorts", "80")]), "--only-inbound-ports 80");
}

#[test]
fn linkerds_value_holds_where_both_set_one() {
    let settings = of(&[
        ("config.linkerd.io/proxy-cpu-limit", "1"),
        ("sidecar.istio.io/proxyCPULimit", "2"),
        ("sidecar.istio.io/proxyMemory", "64Mi"),
        ("sidecar.istio.io/logLevel", "trace"),
        ("config.linkerd.io/proxy-log-level", "warn,linkerd=info,hickory=error"),
    ]);
    assert_eq!(settings.limits["cpu"], "1");
    assert_eq!(settings.requests["memory"], "64Mi");
    assert_eq!(settings.log_level.as_deref(), Some("info"));
    assert_eq!(settings.remarks, [""; 0]);
}

#[test]
fn what_has_no_effect_is_remarked_on() {
    let remark = |key: &str, value: &str| {
        let remarks = of(&[(key, value)]).remarks;
        assert_eq!(remarks.len(), 1, "{key}: {remarks:?}");
        remarks[0].clone()
    };
    insta::assert_snapshot!(
        [
            remark("config.linkerd.io/skip-inbound-ports", "http"),
            remark("config.linkerd.io/proxy-uid", "0"),
            remark("config.linkerd.io/admin-port", "4191"),
            remark("config.linkerd.io/proxy-await", "disabled"),
            remark("config.linkerd.io/proxy-version", "stable-2.14.0"),
            remark("config.linkerd.io/proxy-image", ""),
            remark("config.linkerd.io/skip-inbound-port", "80"),
            remark("config.alpha.linkerd.io/proxy-wait-before-exit-seconds", "5"),
            remark("sidecar.istio.io/proxyImage", "docker.io/istio/proxyv2:1.30"),
            remark("sidecar.istio.io/rewriteAppHTTPProbers", "perhaps"),
            remark("sidecar.istio.io/statsInclusionPrefixes", "x"),
            remark("proxy.istio.io/config", "concurrency: 2\nholdApplicationUntilProxyStarts: true\ntracing: {}\n"),
            remark("proxy.istio.io/config", "- x"),
            remark("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
        ]
        .join("\n"),
        @r#"
    config.linkerd.io/skip-inbound-ports has no effect: expected ports such as 80,90-95, found "http"
    config.linkerd.io/proxy-uid has no effect: expected a number from 1 to 2147483647, found "0"
    config.linkerd.io/admin-port has no effect: the proxy's ports are fixed: 15001, 15006, 15008, 15020
    config.linkerd.io/proxy-await has no effect: the program always waits until the proxy is ready
    config.linkerd.io/proxy-version has no effect: "stable-2.14.0" is a version of Linkerd
    config.linkerd.io/proxy-image has no effect: expected an image such as registry.example/weft/proxy:1.0, found ""
    config.linkerd.io/skip-inbound-port has no effect: no such annotation is known
    config.alpha.linkerd.io/proxy-wait-before-exit-seconds has no effect: a native sidecar ends after the program
    sidecar.istio.io/proxyImage has no effect: "docker.io/istio/proxyv2:1.30" is another mesh's proxy
    sidecar.istio.io/rewriteAppHTTPProbers has no effect: expected true or false, found "perhaps"
    sidecar.istio.io/statsInclusionPrefixes has no effect: Weft has no such setting
    proxy.istio.io/config has no effect: concurrency: the proxy's data runs on one thread; tracing: Weft has no such setting
    proxy.istio.io/config has no effect: expected a mapping in YAML, found a list
    traffic.sidecar.istio.io/excludeInterfaces has no effect: every interface is redirected alike
    "#
    );
}

#[test]
fn what_is_so_anyway_needs_no_remark() {
    let settings = of(&[
        ("config.linkerd.io/proxy-await", "enabled"),
        ("config.linkerd.io/opaque-ports", "3306,mysql"),
        ("config.linkerd.io/default-inbound-policy", "all-authenticated"),
        ("config.alpha.linkerd.io/proxy-enable-native-sidecar", "true"),
        ("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true"),
        ("sidecar.istio.io/interceptionMode", "REDIRECT"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "false"),
        ("prometheus.istio.io/merge-metrics", "false"),
        ("kubectl.kubernetes.io/restartedAt", "now"),
    ]);
    assert_eq!(settings.remarks, [""; 0]);
    assert_eq!((settings.probes, settings.scrapes), (Keep::AsIs, Keep::AsIs));
}

#[test]
fn a_namespace_that_forbids_redirection_is_named() {
    let mut marks = Marks::default();
    marks.labels.insert(SECURITY_LABEL.to_owned(), "restricted".to_owned());
    let namespace = NamespaceMarks { name: "shop".to_owned(), marks };
    let remarks = settings(&namespace, &Marks::default(), Mode::Ingress).remarks;
    assert!(remarks[0].starts_with("linkerd.io/inject: ingress means enabled here"), "{remarks:?}");
    assert!(remarks[1].contains("level restricted, which refuses the capability NET_ADMIN"), "{remarks:?}");
}
